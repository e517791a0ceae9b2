"""Where does a PPN keep shares, and how are they added there?"""
