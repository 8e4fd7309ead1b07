-- Takes the digests away; they follow from the cases, which stay.
ALTER TABLE evaluation_cases DROP COLUMN result_sha256;
DROP FUNCTION text_sha256(text);
