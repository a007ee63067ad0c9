"""The image formats that are read, and those that are named where they are not."""

READERS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "ICO", "PPM")
"""Pillow's names. An allow-list: its rarer readers (FITS, EPS, JPEG 2000, PSD, ...) are where its security
fixes come from."""
READABLE = "PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF, ICO or PPM"

_READ_SUFFIXES = (
    ".png .apng .jpg .jpeg .jpe .jfif .pjpeg .webp .bmp .dib .gif .tif .tiff .avif .ico .ppm .pgm .pbm .pnm"
)
_UNREAD_SUFFIXES = (
    ".heic .heif .hif .svg .svgz .psd .psb .jp2 .j2k .jpf .jpx .jxl .tga .exr .hdr .dds .pcx .qoi .xcf .eps "
    ".icns .dcm .dicom .dng .cr2 .cr3 .nef .nrw .arw .sr2 .orf .raf .rw2 .pef .srw .raw .kra .ora .wmf .emf"
)
READ_SUFFIXES = tuple(_READ_SUFFIXES.split())
SUFFIXES = (*READ_SUFFIXES, *_UNREAD_SUFFIXES.split())
"""Names with these endings are images, whether they can be read or not."""

_NAMED = (
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"gimp xcf", "GIMP"),
    (0, b"icns", "ICNS"),
    (0, b"%!PS", "EPS"),
    (0, b"FUJIFILMCCD-RAW", "raw camera"),
    (0, b"IIU\0", "raw camera"),
    (0, b"IIRO", "raw camera"),
    (4, b"ftypcrx", "raw camera"),
    (128, b"DICM", "DICOM"),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"hei", b"hev", b"mif1", b"msf1")),
)
_READ_STARTS = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (8, b"WEBPVP8"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (4, b"ftypavif"),
    (4, b"ftypavis"),
)
HEAD_BYTES = 132
"""How much of a file its format is known by."""


def name_of_unread(head: bytes) -> str | None:
    """The name of the format that a file with these first bytes has, where it is one that is not read."""
    named = next((name for at, start, name in _NAMED if head[at:].startswith(start)), None)
    if named is None and head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"<svg", b"<?xml", b"\x1f\x8b")):
        return "SVG"
    return named


def starts_like_image(head: bytes) -> bool:
    """Whether a file with these first bytes is surely an image; text that begins like one is not."""
    bitmap = head.startswith(b"BM") and head[6:10] == bytes(4) and head[15:18] == bytes(3)
    strong = (*_READ_STARTS, *((at, start) for at, start, _ in _NAMED if len(start) > 3 and start != b"%!PS"))
    return bitmap or any(head[at:].startswith(start) for at, start in strong)
