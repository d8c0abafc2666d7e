"""`hlf-sync why`: one mentor's story from every place that knows a part of it. Reads only; shows
ids, words and times of our own, nothing else.
"""
