-- Removes everything that 0001 made. The extension stays: others may use it.
DROP TABLE evaluation_cases, evaluations, embeddings, embedders, ingest_rejects, ingest_documents, ingests,
    document_texts, lock_events, locks;
DROP FUNCTION forbid_change(), forbid_change_of_finished();
