-- Nothing is known of forgotten ingests any more; those that are there stay.
DROP TABLE ingests_forgotten;
