"""The generated pages of docs/, printed from the tables that the program itself uses. A test
compares page and table.
"""
