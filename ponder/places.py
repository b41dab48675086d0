"""Where a deployment keeps what it keeps: home, artefacts, lake, index."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict

from ponder.registry import RankerRegistry, Registry
from ponder.setting_values import keyless


class Places(BaseModel):
    """The addresses of one deployment, and the folders that follow from them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: Path = Path(".ponder")
    """Folder of whatever is not given an address of its own: lake, artefacts, Milvus Lite; and of
    what only this machine needs, such as vectors for exact search."""

    artifacts: Annotated[str, AfterValidator(keyless)] = ""
    """Folder or `s3://bucket/prefix` of what tasks on several machines share besides the lake:
    match features, rankers, registered versions, codebooks, evaluation sets, gates' measurements,
    reports, runs of fine-tunes; empty: the home. Of a store each machine keeps a copy in its home;
    see [deploy.md](deploy.md#several-machines)."""

    lake: Annotated[str, AfterValidator(keyless)] = ""
    """Folder or `s3://bucket/prefix` of the Delta tables; empty: `lake` in the home."""

    milvus: str = ""
    """Milvus address, e.g. `http://milvus:19530`; empty: Milvus Lite in `milvus.db` in the home.
    With Milvus Lite queries are answered by exact search over the lake's vectors."""

    @property
    def artifacts_folder(self) -> Path:
        """Where artefacts lie on this machine: the folder itself, or the copy of a store."""
        if "://" in self.artifacts:
            return self.home / "artifacts"
        return Path(self.artifacts) if self.artifacts else self.home

    @property
    def evaluation_folder(self) -> Path:
        """Where the frozen evaluation sets are."""
        return self.artifacts_folder / "evaluation"

    @property
    def mteb_folder(self) -> Path:
        """Where results of mteb's tasks are kept, so that none is run twice."""
        return self.home / "mteb"

    @property
    def finetunes_folder(self) -> Path:
        """Where runs of fine-tunes have their folders."""
        return self.artifacts_folder / "finetune"

    @property
    def features_folder(self) -> Path:
        """Where match features are exported to."""
        return self.artifacts_folder / "features"

    @property
    def served_folder(self) -> Path:
        """Return where features are kept as they were served."""
        return self.artifacts_folder / "served"

    def rankers(self, version: str) -> RankerRegistry:
        """Return the trained rankers that read features of an embedder version."""
        return RankerRegistry(self.artifacts_folder / "rankers" / quote(version, safe=""))

    def codebooks_folder(self, version: str) -> Path:
        """Return where the codebooks of an embedder version are kept, by their ids."""
        return self.artifacts_folder / "codes" / quote(version, safe="")

    @property
    def reports_folder(self) -> Path:
        """Where evaluations and the HTML report are written."""
        return self.artifacts_folder / "reports"

    @property
    def registry(self) -> Registry:
        """The fine-tuned versions."""
        return Registry(self.artifacts_folder / "models")

    @property
    def gates_folder(self) -> Path:
        """Where it is kept what gates said about the deployment's own queries and items."""
        return self.artifacts_folder / "gates"

    @property
    def lake_uri(self) -> str:
        """Where the lake is."""
        return self.lake or str(self.home / "lake")

    @property
    def milvus_uri(self) -> str:
        """Where the index is."""
        return self.milvus or str(self.home / "milvus.db")

    @property
    def is_embedded(self) -> bool:
        """Whether the index is a Milvus Lite folder, which one process at a time may open."""
        return self.milvus_uri.endswith(".db")

    @property
    def vectors_folder(self) -> Path:
        """Where exact search keeps the lake's vectors."""
        return self.home / "vectors"
