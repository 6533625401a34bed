"""The admin for people: its site, its lists, and the page of a Track."""
