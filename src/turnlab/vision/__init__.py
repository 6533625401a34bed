"""What can be told of a picture on this machine without a large model.

`pictures.py` decodes and compares, `facts.py` measures, `text.py` reads, `objects.py` and
`faces.py` recognise a little, `looking.py` makes one description of it all.
"""
