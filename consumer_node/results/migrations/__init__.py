"""Numbered changes of the tables, run at opening. One that was ever released is never changed."""
