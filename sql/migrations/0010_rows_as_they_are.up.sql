-- A seal's rows are stored as they are: to compress two megabytes was half of what it takes to append a seal.
ALTER TABLE seals ALTER COLUMN rows SET STORAGE EXTERNAL;
