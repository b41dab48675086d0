"""Which reasoner writes, and its identity, without loading it or connecting to it."""

from dataclasses import dataclass, field

from embedder.precision import AskedDtype, dtype_on
from embedder.reasoners.prompt import PROMPT_VERSION
from embedder.version import read_manifest, resolve, version_id


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalConfig:
    """A separate local model that reasons."""

    model: str
    """`nano`, a folder, or the hub id of a Qwen-VL checkpoint."""

    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1..."""

    dtype: AskedDtype = "auto"
    """What its weights are loaded as: `auto` is float32 on a CPU and bfloat16 elsewhere."""

    max_tokens: int = 512
    """A longer answer is cut; part of the prompt's version."""

    temperature: float = 0.0
    """0: the likeliest token each time; above, tokens are drawn. Part of the prompt's version."""

    seed: int = 0
    """Decides what is drawn, together with the content; part of the prompt's version."""

    batch_size: int = 16
    """Contents that are reasoned about together."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model must name a folder or a hub id, got an empty name")
        for name in ("max_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be >= 0, got {self.temperature}")

    @property
    def name(self) -> str:
        """Who writes: equal folders have equal names, wherever they are."""
        folder = resolve(self.model)
        dtype = dtype_on(self.device, self.dtype)
        return f"model:{version_id(folder, read_manifest(folder), 'always', dtype=dtype)}"

    @property
    def prompt_version(self) -> str:
        """Of the prompt, of the length that answers are cut to, and of what draws them."""
        return _prompt_version(self.max_tokens, self.temperature, self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointConfig:
    """Which endpoint reasons, and how much patience it gets."""

    base_url: str = field(repr=False)
    """Up to and including the API version, e.g. http://vllm:8000/v1. It may hold a password, so
    neither the configuration's text nor an error shows it."""

    model: str
    """The model's name at the endpoint."""

    key: str = field(default="", repr=False)
    """API key, sent as a bearer token; empty: none is sent."""

    max_tokens: int = 512
    """The endpoint may generate so many tokens an answer; part of the prompt's version."""

    temperature: float = 0.0
    """As the endpoint understands it, 0 being greedy; part of the prompt's version."""

    seed: int = 0
    """Sent along where the temperature is above 0; an endpoint may ignore it. Part of the prompt's
    version."""

    concurrency: int = 8
    """Requests under way at a time."""

    timeout_s: float = 60.0
    """One request may take so long in all, from connecting to the last byte."""

    max_attempts: int = 4
    """Requests for one item, the first included; a query gets one."""

    repeat_queries: bool = False
    """Queries get as many requests as items: for training data, where nobody waits."""

    max_wait_s: float = 30.0
    """Longest wait before a request is repeated, whatever `Retry-After` asks for."""

    max_failures: int = 16
    """After so many server errors and timeouts in a row the endpoint is taken to be down."""

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            host = self.base_url.rpartition("@")[2]
            raise ValueError(f"base_url must be http:// or https://, got {host!r}")
        if not self.model:
            raise ValueError("model must name the endpoint's model, got an empty name")
        for name in ("max_tokens", "concurrency", "max_attempts", "max_failures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be >= 0, got {self.temperature}")
        for name in ("timeout_s", "max_wait_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")

    @property
    def name(self) -> str:
        """Who writes. The address is left out: a server that moves writes the same."""
        return f"openai:{self.model}"

    @property
    def prompt_version(self) -> str:
        """Of the prompt, of the length that answers are cut to, and of what draws them."""
        return _prompt_version(self.max_tokens, self.temperature, self.seed)


def _prompt_version(max_tokens: int, temperature: float, seed: int) -> str:
    drawn = f"/T{temperature:g}/s{seed}" if temperature > 0 else ""
    return f"{PROMPT_VERSION}/{max_tokens}{drawn}"
