"""What the starter dataset asks: questions with replies that would be right, and Conversations."""

from __future__ import annotations

TURNS = 64
"""How many turns there are unless told otherwise: about as many as there is to say, and enough to
prove a 95th percentile, which takes 59 that all keep it."""

ASKED = (
    ("What is the capital of France?", "Paris."),
    ("How many days are there in a leap year?", "Three hundred and sixty-six."),
    ("Can you tell me a fact about penguins?", None),
    ("Which planet is the closest to the sun?", "Mercury."),
    ("What should I cook for dinner tonight?", None),
    ("How many legs does a spider have?", "Eight."),
    ("Why is the sky blue?", "Because air scatters blue light more than red light."),
    ("What is the opposite of hot?", "Cold."),
    ("I could not sleep last night. Do you have any advice?", None),
    ("What language do people speak in Brazil?", "Portuguese."),
    ("How do I make a good cup of tea?", None),
    ("What is seven plus five?", "Twelve."),
    ("Who wrote Romeo and Juliet?", "William Shakespeare."),
    ("Tell me something nice, I had a terrible day.", None),
    ("What colour do you get when you mix blue and yellow?", "Green."),
    ("How far away is the moon?", "About three hundred and eighty thousand kilometres."),
    ("Is a tomato a fruit or a vegetable?", "Botanically it is a fruit."),
    ("What can I do with my children on a rainy afternoon?", None),
    ("At what temperature does water boil?", "At one hundred degrees Celsius at sea level."),
    ("Which animal is the tallest in the world?", "The giraffe."),
    ("I have just got a new job and I am so happy!", None),
    ("What is the largest ocean on earth?", "The Pacific Ocean."),
    ("How long should I boil an egg?", "Six to ten minutes, softer or harder."),
    ("In which country are the pyramids of Giza?", "In Egypt."),
    ("What do bees make?", "Honey."),
    ("How can I learn to play the guitar?", None),
    ("How many minutes are there in two hours?", "One hundred and twenty."),
    ("What is the first month of the year?", "January."),
    ("My train is late again, and I am really annoyed.", None),
    ("Which metal is liquid at room temperature?", "Mercury."),
    ("What is the name of our galaxy?", "The Milky Way."),
    ("Could you explain what a black hole is?", None),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci."),
    ("What do you call a baby dog?", "A puppy."),
    ("Which season comes after spring?", "Summer."),
    ("Does sound travel faster in water or in air?", "In water."),
    ("What should I pack for a week at the sea?", None),
    ("How many players are there in a football team?", "Eleven."),
    ("What is the longest river in South America?", "The Amazon."),
    ("Could you recommend a book for a long flight?", None),
    ("How many sides does a hexagon have?", "Six."),
    ("Which instrument has eighty-eight keys?", "The piano."),
    ("What is the chemical symbol for gold?", "A u."),
    ("I forgot my best friend's birthday. What should I do?", None),
    ("Which country is shaped like a boot?", "Italy."),
    ("How many hours are there in three days?", "Seventy-two."),
    ("What do caterpillars turn into?", "Butterflies or moths."),
    ("How do I get a coffee stain out of a shirt?", None),
    ("What is half of ninety?", "Forty-five."),
    ("Which bird is a symbol of peace?", "The dove."),
    ("What do we call frozen water?", "Ice."),
    ("My neighbour plays the drums at night. How do I tell him?", None),
    ("In which city is the Eiffel Tower?", "In Paris."),
    ("Which month has the fewest days?", "February."),
)
"""What is said, and a reply that would be right where there is just one."""

CONVERSATIONS = (
    (
        "pets",
        (
            ("I have two cats and one dog.", None),
            ("How many animals do I have?", "Three: two cats and one dog."),
            ("Which of them would like a walk in the park?", "The dog."),
        ),
    ),
    (
        "holiday",
        (
            ("My name is Anna, and I am going to Rome in May.", None),
            ("What is the weather like there at that time?", "Mild and sunny."),
            ("Which sight should I see first?", None),
            ("What was my name again?", "Anna."),
        ),
    ),
)
"""By name of the Conversation: what is said in each turn, and a reply that would be right."""

SHIPPED = (
    ("beckett", "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."),
    (
        "two_cities",
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was "
        "the age of foolishness, it was the epoch of belief, it was the epoch of incredulity, it "
        "was the season of light, it was the season of darkness, it was the spring of hope, it "
        "was the winter of despair. We had everything before us, we had nothing before us, we "
        "were all going direct to heaven, we were all going direct the other way. In short, the "
        "period was so far like the present period that some of its noisiest authorities insisted "
        "on its being received, for good or for evil, in the superlative degree of comparison "
        "only.",
    ),
    ("endgame_nagg_nell", None),
    ("clone-test", None),
)
"""Recordings of people that the Moonshine package carries, and what is said where that is known:
the text of the second is Dickens' (1859); what the last two say nobody has published."""
