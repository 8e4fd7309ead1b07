-- Takes the seals away; the files that were written of them stay, and so does what they say.
DROP TABLE seals;
