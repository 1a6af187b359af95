"""What frontends/pytorch/export.py is made of: one file per concern, see each file's first lines."""
