-- Rows of seals are compressed again; those that are there stay as they are.
ALTER TABLE seals ALTER COLUMN rows SET STORAGE EXTENDED;
