"""Images of products: silhouettes filled with a colour and a pattern, and a printed label.

An image is 96 x 96 pixels. The upper 80 rows hold `count` copies of the noun's silhouette on a
jittered grid; the lower 16 rows hold the brand. The generator's seed moves, scales and tints, so no
two images of one product are alike, while what they show stays the same.
"""

import functools
import io
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont

from catalog.bazaar.world import COLOURS, Product

SIZE = 96
SHELF_HEIGHT = 80
OVERSAMPLING = 3
GRIDS = {1: (1, 1), 2: (2, 1), 3: (2, 2), 4: (2, 2), 5: (3, 2), 6: (3, 2)}  # columns, rows


class Canvas:
    """A square mask addressed in thousandths of its side, on which silhouettes are drawn."""

    def __init__(self, side: int) -> None:
        self.mask = Image.new("L", (side, side))
        self._pen = ImageDraw.Draw(self.mask)
        self._scale = side / 1000

    def _scaled(self, *numbers: float) -> list[float]:
        return [number * self._scale for number in numbers]

    def box(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A filled rectangle."""
        self._pen.rectangle(self._scaled(x0, y0, x1, y1), fill=255)

    def oval(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A filled ellipse in a rectangle."""
        self._pen.ellipse(self._scaled(x0, y0, x1, y1), fill=255)

    def hole(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """An ellipse cut out again."""
        self._pen.ellipse(self._scaled(x0, y0, x1, y1), fill=0)

    def half(self, x0: float, y0: float, x1: float, y1: float, start: int, end: int) -> None:
        """A filled slice of an ellipse, from one angle to another in degrees, clockwise."""
        self._pen.pieslice(self._scaled(x0, y0, x1, y1), start, end, fill=255)

    def shape(self, *numbers: float) -> None:
        """A filled polygon through x, y, x, y..."""
        self._pen.polygon(self._scaled(*numbers), fill=255)

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float) -> None:
        """A line of the given width."""
        self._pen.line(
            self._scaled(x0, y0, x1, y1), fill=255, width=max(1, round(width * self._scale))
        )


def _mug(c: Canvas) -> None:
    c.oval(560, 300, 960, 720)
    c.hole(660, 400, 860, 620)
    c.box(120, 180, 700, 860)


def _bottle(c: Canvas) -> None:
    c.box(410, 40, 590, 340)
    c.shape(410, 300, 590, 300, 720, 480, 280, 480)
    c.box(280, 470, 720, 960)


def _bowl(c: Canvas) -> None:
    c.half(60, -20, 940, 860, 0, 180)
    c.box(360, 820, 640, 920)


def _pan(c: Canvas) -> None:
    c.oval(40, 260, 620, 840)
    c.box(580, 490, 980, 610)


def _lamp(c: Canvas) -> None:
    c.shape(340, 60, 660, 60, 880, 480, 120, 480)
    c.box(460, 460, 540, 860)
    c.box(280, 840, 720, 940)


def _chair(c: Canvas) -> None:
    c.box(180, 40, 320, 960)
    c.box(180, 480, 820, 620)
    c.box(700, 480, 820, 960)


def _clock(c: Canvas) -> None:
    c.oval(120, 180, 880, 940)
    c.oval(140, 60, 400, 300)
    c.oval(600, 60, 860, 300)
    c.hole(280, 340, 720, 780)
    c.line(500, 560, 500, 380, 70)
    c.line(500, 560, 640, 560, 70)


def _candle(c: Canvas) -> None:
    c.shape(500, 20, 600, 200, 500, 320, 400, 200)
    c.box(380, 340, 620, 840)
    c.box(200, 820, 800, 940)


def _hat(c: Canvas) -> None:
    c.box(280, 160, 720, 720)
    c.oval(20, 640, 980, 880)


def _shoe(c: Canvas) -> None:
    c.box(80, 260, 420, 760)
    c.half(60, 460, 980, 1100, 180, 360)
    c.box(60, 740, 980, 860)


def _shirt(c: Canvas) -> None:
    c.shape(
        300,
        120,
        700,
        120,
        980,
        380,
        840,
        520,
        720,
        420,
        720,
        940,
        280,
        940,
        280,
        420,
        160,
        520,
        20,
        380,
    )
    c.hole(400, 20, 600, 220)


def _sock(c: Canvas) -> None:
    c.box(300, 40, 600, 640)
    c.shape(300, 560, 600, 560, 940, 760, 900, 940, 420, 940, 300, 800)


def _bag(c: Canvas) -> None:
    c.oval(270, 40, 730, 560)
    c.hole(370, 140, 630, 460)
    c.shape(180, 340, 820, 340, 940, 940, 60, 940)


def _umbrella(c: Canvas) -> None:
    c.half(40, 80, 960, 1000, 180, 360)
    c.box(465, 520, 535, 900)
    c.box(340, 850, 535, 920)


def _suitcase(c: Canvas) -> None:
    c.box(60, 340, 940, 920)
    c.box(340, 160, 420, 360)
    c.box(580, 160, 660, 360)
    c.box(340, 160, 660, 240)


def _book(c: Canvas) -> None:
    c.shape(60, 200, 480, 300, 480, 900, 60, 800)
    c.shape(940, 200, 520, 300, 520, 900, 940, 800)


def _kite(c: Canvas) -> None:
    c.shape(500, 20, 840, 380, 500, 780, 160, 380)
    c.line(500, 760, 620, 980, 50)
    c.shape(540, 860, 720, 820, 700, 940)


def _car(c: Canvas) -> None:
    c.shape(260, 300, 700, 300, 820, 520, 160, 520)
    c.box(40, 500, 960, 720)
    c.oval(140, 620, 380, 860)
    c.oval(620, 620, 860, 860)


def _boat(c: Canvas) -> None:
    c.shape(480, 40, 480, 600, 120, 600)
    c.shape(540, 160, 540, 600, 860, 600)
    c.shape(40, 660, 960, 660, 800, 920, 200, 920)


def _robot(c: Canvas) -> None:
    c.box(300, 60, 700, 360)
    c.hole(370, 150, 460, 240)
    c.hole(540, 150, 630, 240)
    c.box(220, 400, 780, 760)
    c.box(60, 420, 180, 700)
    c.box(820, 420, 940, 700)
    c.box(280, 780, 440, 960)
    c.box(560, 780, 720, 960)


def _drum(c: Canvas) -> None:
    c.oval(100, 320, 900, 560)
    c.box(100, 440, 900, 820)
    c.oval(100, 700, 900, 940)
    c.line(60, 60, 460, 400, 60)
    c.line(940, 60, 540, 400, 60)


def _guitar(c: Canvas) -> None:
    c.oval(220, 520, 780, 980)
    c.oval(310, 360, 690, 680)
    c.box(450, 40, 550, 460)
    c.box(390, 20, 610, 140)
    c.hole(430, 600, 570, 740)


def _bell(c: Canvas) -> None:
    c.half(220, 100, 780, 740, 180, 360)
    c.shape(220, 420, 780, 420, 920, 800, 80, 800)
    c.oval(400, 780, 600, 960)


def _fish(c: Canvas) -> None:
    c.oval(40, 280, 740, 760)
    c.shape(640, 520, 960, 240, 960, 800)
    c.hole(160, 430, 240, 510)


SILHOUETTES: dict[str, Callable[[Canvas], None]] = {
    "mug": _mug,
    "bottle": _bottle,
    "bowl": _bowl,
    "pan": _pan,
    "lamp": _lamp,
    "chair": _chair,
    "clock": _clock,
    "candle": _candle,
    "hat": _hat,
    "shoe": _shoe,
    "shirt": _shirt,
    "sock": _sock,
    "bag": _bag,
    "umbrella": _umbrella,
    "suitcase": _suitcase,
    "book": _book,
    "kite": _kite,
    "car": _car,
    "boat": _boat,
    "robot": _robot,
    "drum": _drum,
    "guitar": _guitar,
    "bell": _bell,
    "fish": _fish,
}


@functools.lru_cache(maxsize=1024)
def _silhouette(noun: str, side: int) -> Image.Image:
    canvas = Canvas(side * OVERSAMPLING)
    SILHOUETTES[noun](canvas)
    return canvas.mask.resize((side, side), Image.Resampling.BOX)


def _cloth(side: int, pattern: str, colour: tuple[int, int, int]) -> Image.Image:
    """A square of fabric; the pattern's second tone is a lighter shade of the colour."""
    light = tuple(round(channel + (255 - channel) * 0.72) for channel in colour)
    cloth = Image.new("RGB", (side, side), colour)
    pen = ImageDraw.Draw(cloth)
    step = max(4, side // 5)
    if pattern == "striped":
        for x in range(0, side, step):
            pen.rectangle((x, 0, x + step // 2 - 1, side), fill=light)
    elif pattern == "dotted":
        radius = max(1, step // 4)
        for row, y in enumerate(range(step // 2, side, step)):
            for x in range(step // 2 + (row % 2) * step // 2, side, step):
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=light)
    elif pattern == "checked":
        half = max(3, side // 6)
        for row, y in enumerate(range(0, side, half)):
            for x in range((row % 2) * half, side, 2 * half):
                pen.rectangle((x, y, x + half - 1, y + half - 1), fill=light)
    return cloth


def draw(product: Product, random: random.Random) -> Image.Image:
    """An image of the product, [96, 96] RGB; the generator decides position, size and tint."""
    backdrop = random.randint(228, 255)
    image = Image.new("RGB", (SIZE, SIZE), (backdrop, backdrop, random.randint(220, 255)))
    columns, rows = GRIDS[product.count]
    cell_width, cell_height = SIZE / columns, SHELF_HEIGHT / rows
    side = round(min(cell_width, cell_height, 60) * random.uniform(0.78, 0.96))
    tint = random.uniform(0.86, 1.06)
    colour = COLOURS[product.colour]
    shade = (
        min(255, round(colour[0] * tint)),
        min(255, round(colour[1] * tint)),
        min(255, round(colour[2] * tint)),
    )
    cloth, mask = _cloth(side, product.pattern, shade), _silhouette(product.noun, side)
    cells = random.sample(range(columns * rows), product.count)
    for cell in cells:
        spare_x, spare_y = cell_width - side, cell_height - side
        x = (cell % columns) * cell_width + random.uniform(0, max(0, spare_x))
        y = (cell // columns) * cell_height + random.uniform(0, max(0, spare_y))
        image.paste(cloth, (round(x), round(y)), mask)
    _print_label(image, product.brand, random)
    return image


@functools.cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=13)


def _print_label(image: Image.Image, label: str, random: random.Random) -> None:
    pen = ImageDraw.Draw(image)
    left = random.randint(4, SIZE - 44)
    pen.text((left, SHELF_HEIGHT), label, fill=(60, 60, 60), font=_font())


def png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
