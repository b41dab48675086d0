"""Examples of requests and replies, for the reference."""

from typing import Any

from fastapi.openapi.models import Example

RECALL_REQUESTS: dict[str, Example] = {
    "text": {
        "summary": "Words",
        "value": {"text": "3 red mugs", "top_k": 5, "details": True},
    },
    "filtered": {
        "summary": "Words, with conditions on what is found",
        "value": {
            "text": "a gift for a gardener",
            "filter": {"category_in": ["garden"], "attributes": {"price": {"max": 20}}},
            "hybrid": True,
            "reasoning": "auto",
            "max_new_tokens": 64,
            "deadline_ms": 300,
        },
    },
    "item": {
        "summary": "Items like one, none of them nearly the same",
        "value": {"item_id": "i17", "max_similarity": 0.98, "mmr_lambda": 0.7},
    },
    "user": {
        "summary": "Items for a user, by three interests",
        "value": {"user_id": "u17", "interests": 3, "exclude_seen": "shown", "explain": True},
    },
    "history": {
        "summary": "Items for a history that the service does not know",
        "value": {"history": ["i17", "i4", "i99"], "top_k": 20},
    },
}

RECOMMEND_REQUESTS: dict[str, Example] = {
    "user": {"summary": "For a user", "value": {"user_id": "u17", "top_k": 10, "explain": True}},
    "history": {
        "summary": "For a history that the service does not know",
        "value": {"history": ["i17", "i4"], "filter": {"category_in": ["garden"]}},
    },
}

RANK_REQUESTS: dict[str, Example] = {
    "user": {
        "summary": "Given items in order, for a user",
        "value": {"user_id": "u17", "item_ids": ["i4", "i17", "i99"], "explain": True},
    },
}

RECALL_REPLY: dict[str, Any] = {
    "content": {
        "application/json": {
            "example": {
                "version": "nano-5d0c1f7a93be",
                "index": "milvus_hnsw",
                "consistency": "bounded",
                "candidates": [
                    {
                        "item_id": "i17",
                        "score": 0.873421,
                        "rank": 1,
                        "fused_score": None,
                        "channels": ["content"],
                        "interest": None,
                        "title": "3 red mugs",
                        "category": "kitchen",
                        "image": "/v1/images/316aaa78",
                        "image_uri": "https://shop.example/mugs.png",
                    }
                ],
                "action": "direct",
                "gate_probability": 0.12,
                "rationale": "",
                "reasoning_fallback": "",
                "cut_short": False,
                "fallback": "",
                "interests": [],
                "hints": [],
                "timings": {
                    "wait": 0.1,
                    "version": 0.0,
                    "queue": 0.4,
                    "encode": 9.1,
                    "search": 3.2,
                },
                "took_ms": 12.8,
            }
        }
    }
}

BATCH: dict[str, Example] = {
    "two": {
        "summary": "Two queries",
        "value": {"queries": [{"text": "3 red mugs", "top_k": 5}, {"item_id": "i17"}]},
    }
}
