"""The same rows, vectors and questions in the usual Postgres stores, timed in the same process on the same server.

Run from the root of the project, in an environment that also has langchain-postgres, llama-index-vector-stores-postgres
and pgvector-haystack: `python -m tests.bench.peers_retrieval --url URL` (an empty database). A store that is not
installed is named and left out; nothing is claimed of it. Each store is asked through its own hybrid search for 40 of
60 dense and 60 lexical candidates, with its own HNSW index (m 16, ef_construction 64, ef_search 100) and its own full
text index. Rows are copied into its tables by SQL, after the store made them; its indexes are built by the store.
"""

# The stores are not dependencies of the project, so their types are not known here.
# mypy: disable-error-code="import-not-found, misc, unused-ignore"
from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from bakeoff.adapters import postgres
from tests.bench.bench_retrieval import (
    DIMENSION,
    Data,
    Search,
    fill,
    machine,
    make_data,
    make_lock,
    ours,
    row_of,
    show,
    timed,
)
from tests.bench.bench_retrieval import server as database

RESULT = Path("artifacts/bench/peers_retrieval.json")
SNAPSHOT, CANDIDATES = 40, 60


def copy_rows(url: str, statement: str) -> None:
    """Run *statement*, an INSERT from the chunk table `{chunks}` into a store's table."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement.format(chunks=f"bakeoff.{make_lock().table_name}"))


def vacuum(url: str, table: str) -> None:
    """VACUUM ANALYZE a store's table, as ours was."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"VACUUM (ANALYZE) {table}")


def known_to_langchain(data: Data) -> Any:  # a library that may not be installed
    """Return the vectors of the questions, made before, as langchain asks for them."""
    from langchain_core.embeddings import Embeddings

    vectors = {question: data.question_vectors[n].tolist() for n, question in enumerate(data.questions)}

    class Known(Embeddings):
        """The vectors that were made before."""

        def embed_query(self, text: str) -> list[float]:
            return list(vectors[text])

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

    return Known()


def langchain(url: str, data: Data) -> Search:
    """langchain-postgres: PGVectorStore with HybridSearchConfig and reciprocal rank fusion."""
    from langchain_postgres import PGEngine, PGVectorStore
    from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig, reciprocal_rank_fusion
    from langchain_postgres.v2.indexes import HNSWIndex, HNSWQueryOptions

    hybrid = HybridSearchConfig(
        tsv_column="content_tsv",
        tsv_lang="pg_catalog.english",
        fusion_function=reciprocal_rank_fusion,
        fusion_function_parameters={"rrf_k": 60, "fetch_top_k": SNAPSHOT},
        primary_top_k=CANDIDATES,
        secondary_top_k=CANDIDATES,
    )
    engine = PGEngine.from_connection_string(url=url.replace("postgresql://", "postgresql+psycopg://", 1))
    engine.init_vectorstore_table("peer_langchain", DIMENSION, hybrid_search_config=hybrid, overwrite_existing=True)
    copy_rows(
        url,
        "INSERT INTO peer_langchain (langchain_id, content, embedding, content_tsv) "
        "SELECT gen_random_uuid(), text, embedding, to_tsvector('english', text) FROM {chunks}",
    )
    store = PGVectorStore.create_sync(
        engine,
        known_to_langchain(data),
        "peer_langchain",
        k=SNAPSHOT,
        hybrid_search_config=hybrid,
        index_query_options=HNSWQueryOptions(ef_search=100),
    )
    store.apply_vector_index(HNSWIndex(m=16, ef_construction=64))
    store.apply_hybrid_search_index()
    vacuum(url, "peer_langchain")
    return lambda number: store.similarity_search(data.questions[number], k=SNAPSHOT)


def llama_index(url: str, data: Data) -> Search:
    """llama-index-vector-stores-postgres: a query in HYBRID mode."""
    from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
    from llama_index.vector_stores.postgres import PGVectorStore

    def opened(hnsw: dict[str, Any] | None) -> Any:  # a library that may not be installed
        # Its SET with a bound value needs a driver that binds in the client: psycopg2, its own default.
        store = PGVectorStore.from_params(
            connection_string=url.replace("postgresql://", "postgresql+psycopg2://", 1),
            async_connection_string=url.replace("postgresql://", "postgresql+asyncpg://", 1),
            table_name="peer_llama",
            embed_dim=DIMENSION,
            hybrid_search=True,
            text_search_config="english",
            hnsw_kwargs=hnsw,
        )
        store._initialize()
        return store

    opened(None)
    copy_rows(
        url,
        "INSERT INTO data_peer_llama (text, metadata_, node_id, embedding) "
        "SELECT text, '{{}}', chunk_id, embedding FROM {chunks}",
    )
    kind = {"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 100, "hnsw_dist_method": "vector_cosine_ops"}
    store = opened(kind)
    vacuum(url, "data_peer_llama")

    sizes = {"similarity_top_k": CANDIDATES, "sparse_top_k": CANDIDATES, "hybrid_top_k": SNAPSHOT}

    def search(number: int) -> list[object]:
        vector, text = data.question_vectors[number].tolist(), data.questions[number]
        query = VectorStoreQuery(query_embedding=vector, query_str=text, mode=VectorStoreQueryMode.HYBRID, **sizes)
        return list(store.query(query).nodes or [])

    return search


def haystack(url: str, data: Data) -> Search:
    """pgvector-haystack: embedding retriever, keyword retriever and a joiner by reciprocal rank."""
    from haystack.components.joiners import DocumentJoiner
    from haystack.utils import Secret
    from haystack_integrations.components.retrievers.pgvector import (
        PgvectorEmbeddingRetriever,
        PgvectorKeywordRetriever,
    )
    from haystack_integrations.document_stores.pgvector import PgvectorDocumentStore

    def opened(strategy: Any) -> Any:  # a library that may not be installed
        store = PgvectorDocumentStore(
            connection_string=Secret.from_token(url),
            table_name="peer_haystack",
            embedding_dimension=DIMENSION,
            search_strategy=strategy,
            hnsw_index_creation_kwargs={"m": 16, "ef_construction": 64},
            hnsw_ef_search=100,
        )
        store.count_documents()
        return store

    opened("exact_nearest_neighbor")
    copy_rows(
        url,
        "INSERT INTO peer_haystack (id, content, embedding, meta) "
        "SELECT chunk_id, text, embedding, '{{}}' FROM {chunks}",
    )
    store = opened("hnsw")
    vacuum(url, "peer_haystack")
    dense = PgvectorEmbeddingRetriever(document_store=store, top_k=CANDIDATES)
    words = PgvectorKeywordRetriever(document_store=store, top_k=CANDIDATES)
    joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=SNAPSHOT)

    def search(number: int) -> list[object]:
        near = dense.run(query_embedding=data.question_vectors[number].tolist())["documents"]
        found = words.run(query=data.questions[number])["documents"]
        return list(joiner.run(documents=[near, found])["documents"])

    return search


PEERS: dict[str, tuple[str, Callable[[str, Data], Search]]] = {
    "langchain-postgres": ("langchain_postgres", langchain),
    "llama-index-vector-stores-postgres": ("llama_index.vector_stores.postgres", llama_index),
    "pgvector-haystack": ("haystack_integrations.document_stores.pgvector", haystack),
}


def installed(module: str) -> bool:
    """Whether *module* can be imported here."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def main() -> int:
    """Measure ours, then every store that is installed; 3 where none is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="an empty database; default: a server of its own")
    parser.add_argument("--chunks", type=int, default=50_000)
    parser.add_argument("--questions", type=int, default=300)
    given = parser.parse_args()
    there = {name: peer for name, (module, peer) in PEERS.items() if installed(module)}
    for name in sorted(PEERS.keys() - there.keys()):
        print(f"{name} is not installed: not measured")
    if not there:
        return 3
    warnings.simplefilter("ignore")
    data = make_data(given.chunks, given.questions)
    with database(given.url) as url:
        with postgres.open_url(url, autocommit=True) as conn:
            fill(conn, data)
        rows = ours(url, data)
        for name, peer in there.items():
            rows.append(row_of(name, timed(peer(url, data), given.questions)))
            show(rows[-1:])
        rows += [{**row, "what": f"{row['what']} (again)"} for row in ours(url, data)]
        result = {"machine": machine(url), "chunks": given.chunks, "rows": rows}
    show(rows)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
