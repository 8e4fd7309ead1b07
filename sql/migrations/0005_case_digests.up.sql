-- SHA-256 of text in UTF-8. It may be called immutable: convert_to is not only because somebody could redefine an
-- encoding, which nobody does with UTF-8.
CREATE FUNCTION text_sha256(content text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(convert_to(content, 'UTF8'));

-- The database digests every case whenever it is written, and lets nobody write the digest: to ask whether a run was
-- changed costs its digests then, not its cases.
ALTER TABLE evaluation_cases ADD COLUMN result_sha256 bytea NOT NULL
    GENERATED ALWAYS AS (text_sha256(result::text)) STORED;
