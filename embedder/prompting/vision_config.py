"""How much of further images and of a clip is read."""

from dataclasses import dataclass

from catalog.clips.limits import FrameSampling


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """Limits of what stands beside an item's image; the image has the processor's own."""

    clip_fps: float = 2.0
    """Frames of a clip that are read for each of its seconds."""

    max_clip_frames: int = 16
    """Of a clip that lasts longer the frames are farther apart."""

    max_clip_tokens: int = 1024
    """A clip's frames are scaled down until they are so many tokens together."""

    max_gallery_tokens: int = 1024
    """Further images are scaled down until they are so many tokens together."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")

    @property
    def sampling(self) -> FrameSampling:
        """Which frames of a clip are decoded."""
        return FrameSampling(
            fps=self.clip_fps,
            min_frames=min(FrameSampling().min_frames, self.max_clip_frames),
            max_frames=self.max_clip_frames,
        )
