#!/usr/bin/env python3
"""Makes folders of pictures as phones, scanners, cameras and the web leave them, and trains on each for a few batches.

A folder is right if the run trains on exactly what its owner meant, by split and class, or if it is refused by a sentence that
says what to change. What was meant is counted here, while the files are made, and compared with what the run says of them.

    python3 folders.py --stagger target/debug/stagger [--keep DIR] [NAME …]

Needs numpy and Pillow (11.3 or later, which writes AVIF). Prints a table; the exit status is 1 if a folder is wrong.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

FLAGS = "--dataset image-folder --model resnet8 --stages 2 --schedule bp --batch-size 4 --max-batches 3 --calibration-batches 0 --lr 0.01"


def picture(seed, size=(48, 36), mode="RGB"):
    """A picture with something to see in it: a gradient, and a little noise that the seed draws."""
    width, height = size
    rng = np.random.default_rng(seed)
    across = np.linspace(0, 200, width)[None, :, None] * np.ones((height, 1, 3))
    noise = rng.integers(0, 50, (height, width, 3))
    return Image.fromarray((across + noise).astype("uint8")).convert(mode)


class Folder:
    """A folder that is being filled, and what its owner means by it: the pictures of each class, by split."""

    def __init__(self, path):
        self.path = path
        self.meant = {}
        self.seed = 0

    def file(self, name, content=b"\0" * 100):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def save(self, name, image=None, meant=True, **how):
        """Saves a picture as SPLIT/CLASS/…; `meant` is False where its owner does not expect it to be used, or (split, class)."""
        self.seed += 1
        image = image or picture(self.seed)
        written = io.BytesIO()
        how.setdefault("format", {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(name.lower().rsplit(".", 1)[-1]))
        if how["format"] is None:
            how["format"] = name.rsplit(".", 1)[-1].upper()
        image.save(written, **how)
        self.file(name, written.getvalue())
        if meant:
            split, label = meant if isinstance(meant, tuple) else name.split("/")[:2]
            by_class = self.meant.setdefault(split, {})
            label = unicodedata.normalize("NFC", label)
            by_class[label] = by_class.get(label, 0) + 1

    def counts(self):
        return {split: sum(classes.values()) for split, classes in self.meant.items()}


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 400
MOVIE = b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + b"\0" * 400


def phone(f):
    """An album per animal, copied from a phone: pictures that lie on their side, live photos, some in HEIC, by date."""
    for split, count in (("train", 8), ("val", 3)):
        for animal in ("Katze", "Hündchen"):
            for n in range(count):
                f.save(f"{split}/{animal}/2023/0{n % 9 + 1}/IMG_{n:04}.JPG", exif=turned(n % 8 + 1))
            f.file(f"{split}/{animal}/2023/01/IMG_9000.HEIC", HEIC)
            f.file(f"{split}/{animal}/2023/01/IMG_9001.MOV", MOVIE)
            f.file(f"{split}/{animal}/2023/01/IMG_0001.AAE", "<?xml version='1.0'?>")
    return "", {"left out": ["12 files of other formats"]}


def phone_heic(f):
    """The same from a phone that was left at its factory setting: HEIC only."""
    for split in ("train", "val"):
        for animal in ("cat", "dog"):
            for n in range(4):
                f.file(f"{split}/{animal}/IMG_{n:04}.HEIC", HEIC)
    return "", {"refused": ["16 files of other formats", "train/cat/IMG_0000.HEIC", "convert"]}


def heic_called_jpg(f):
    """HEIC files that a messenger has renamed, among real pictures."""
    for split in ("train", "val"):
        for animal in ("cat", "dog"):
            for n in range(4):
                f.save(f"{split}/{animal}/{n}.jpg")
    f.file("train/cat/wa_1.jpg", HEIC)
    f.file("train/dog/wa_2.jpg", HEIC)
    return "", {"refused": ["2 images do not decode", "train/cat/wa_1.jpg: it is HEIC", "train/dog/wa_2.jpg", "--skip-bad-images"]}


def scanner(f):
    """Letters and forms from an office scanner: pages in one file, 1 bit, 16 bits, CMYK, each way to compress."""
    for split, count in (("train", 2), ("test", 1)):
        for kind in ("letter", "form"):
            for n in range(count):
                at = f"{split}/{kind}/scan{n}"
                pages = [picture(n + page, (85, 110), "L") for page in range(3)]
                f.save(f"{at}_pages.tif", pages[0], save_all=True, append_images=pages[1:])
                f.save(f"{at}_1bit.tif", picture(n, (170, 220)).convert("1"), compression="group4")
                f.save(f"{at}_1bit_plain.tif", picture(n, (170, 220)).convert("1"))
                grey = np.linspace(0, 65535, 85 * 110).reshape(110, 85).astype("uint16")
                f.save(f"{at}_16bit.tiff", Image.fromarray(grey), format="TIFF")
                f.save(f"{at}_cmyk.tif", picture(n, mode="CMYK"))
                f.save(f"{at}_lzw.tif", compression="tiff_lzw")
                f.save(f"{at}_zip.tif", compression="tiff_adobe_deflate")
                f.save(f"{at}_jpeg.tif", compression="jpeg")
                f.save(f"{at}_packed.tif", compression="packbits")
                f.save(f"{at}_cmyk.jpg", picture(n, mode="CMYK"))
                f.save(f"{at}_300dpi.png", picture(n, (340, 440), "L"), dpi=(300, 300))
    return "", {}


def scanner_palette(f):
    """Scans that were saved with few colours."""
    for split in ("train", "val"):
        for kind in ("letter", "form"):
            for n in range(3):
                f.save(f"{split}/{kind}/{n}.tif")
    f.save("train/form/few.tif", picture(1).quantize(16), meant=False)
    return "", {"refused": ["train/form/few.tif does not decode", "--skip-bad-images"]}


def web(f):
    """Pictures that a script has fetched from a search: every format, web pages and empty files among them."""
    for split, count in (("train", 3), ("val", 2)):
        for thing in ("chair", "lamp", "sofa"):
            for n in range(count):
                at = f"{split}/{thing}/{n}"
                f.save(f"{at}.webp")
                f.save(f"{at}a.webp", picture(n, mode="RGBA"), lossless=True)
                f.save(f"{at}.gif", picture(n, mode="P"))
                frames = [picture(n + frame, mode="P") for frame in range(3)]
                f.save(f"{at}-moving.gif", frames[0], save_all=True, append_images=frames[1:])
                f.save(f"{at}.png", picture(n, mode="RGBA"))
                f.save(f"{at}?w=640&h=480", format="JPEG", progressive=True)
                f.save(f"{at}-really-webp.jpg", format="WEBP")
                f.save(f"{at}.jfif", format="JPEG")
    avif = io.BytesIO()
    picture(1).save(avif, "AVIF")
    f.file("train/lamp/new.avif", avif.getvalue())
    f.file("train/lamp/logo.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    f.file("train/sofa/403.jpg", "<!DOCTYPE html>\n<html><title>403 Forbidden</title></html>")
    f.file("train/chair/empty.jpg", b"")
    return "", {
        "refused": ["2 images do not decode", "train/chair/empty.jpg: the file is empty", "train/sofa/403.jpg: it does not start"],
        "then": ("--skip-bad-images", {"left out": ["2 files of other formats", "2 damaged images"]}),
    }


def mac_zip(f):
    """An archive that was packed on a Mac and unpacked elsewhere: a folder within, resource forks, a folder __MACOSX."""
    for split, count in (("train", 4), ("val", 2)):
        for letter in ("ä", "ö"):
            # The Mac writes one form of the letters, the other programs the other.
            name = unicodedata.normalize("NFD" if split == "train" else "NFC", letter)
            for n in range(count):
                f.save(f"set/{split}/{name}/{n}.jpg", meant=(split, letter))
                f.file(f"set/{split}/{name}/._{n}.jpg", b"\0\5\x16\7\0\2\0\0Mac OS X        ")
                f.file(f"__MACOSX/set/{split}/{name}/._{n}.jpg", b"\0\5\x16\7\0\2\0\0Mac OS X        ")
            f.file(f"set/{split}/{name}/.DS_Store")
        f.file(f"set/{split}/.DS_Store")
    f.file("set/.DS_Store")
    f.file(".DS_Store")
    return "", {"left out": ["hidden"]}


def mac_zip_flat(f):
    """The same with the classes at the top, a tenth set aside."""
    for animal in ("cat", "dog"):
        for n in range(10):
            f.save(f"{animal}/{n}.jpg", meant=("train", animal))
            f.file(f"__MACOSX/{animal}/._{n}.jpg", b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    f.file("__MACOSX/._cat", b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    # What is set aside for evaluation is one of ten.
    f.meant = {"train": {"cat": 9, "dog": 9}, "val": {"cat": 1, "dog": 1}}
    return "--val-split 0.1", {}


def windows(f):
    """Pictures that were sorted in Explorer: thumbnails, settings of folders, copies, a folder that was copied twice."""
    for split, count in (("Train", 4), ("Test", 2)):
        for thing in ("Schraube M4", "Mutter M4 "):
            for n in range(count):
                f.save(f"{split}/{thing}/Bild ({n}).jpg", meant=(split.lower().replace("test", "val"), thing))
            f.save(f"{split}/{thing}/Bild (0) - Kopie.JPG", meant=(split.lower().replace("test", "val"), thing))
            f.file(f"{split}/{thing}/Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
            f.file(f"{split}/{thing}/desktop.ini", "[.ShellClassInfo]\r\n")
        f.file(f"{split}/desktop.ini", "[.ShellClassInfo]\r\n")
    for thing in ("Schraube M4", "Mutter M4 "):
        f.save(f"Train (1)/{thing}/Bild (0).jpg", meant=False)
    return "", {"left out": ["8 files of other formats", "2 files beside the class folders"]}


def windows_blank(f):
    """A class whose name ends with a blank in one of the splits."""
    for split, name in (("train", "nut "), ("val", "nut")):
        for n in range(4):
            f.save(f"{split}/{name}/{n}.jpg")
            f.save(f"{split}/bolt/{n}.jpg")
    return "", {"refused": ["val/nut", "rename one of the two folders", r"nut\u{20}"]}


def lightroom(f):
    """An export beside what it was made from: raw files and sidecars, large progressive JPEGs with a profile."""
    for split, count in (("train", 4), ("val", 2)):
        for light in ("dawn", "noon"):
            for n in range(count):
                at = f"{split}/{light}/_DSC{n:04}"
                f.save(f"{at}.jpg", progressive=True, quality=95, icc_profile=b"\0" * 3000)
                f.file(f"{at}.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
                f.file(f"{at}.CR3", b"\0\0\0\x18ftypcrx " + b"\0" * 400)
    return "", {
        "refused": ["only 12 can be used, and 24 are left out", "24 files of other formats", "--allow-left-out"],
        "then": ("--allow-left-out", {"left out": ["24 files of other formats"]}),
    }


def screenshots(f):
    """Screenshots and what else is on a desktop: transparent, of one pixel, a panorama, as large as cameras make them."""
    for split in ("train", "val"):
        for app in ("mail", "map"):
            f.save(f"{split}/{app}/Bildschirmfoto 2024-03-01 um 10.00.00.png", picture(1, (320, 200), "RGBA"))
            f.save(f"{split}/{app}/dot.png", picture(1, (1, 1)))
            f.save(f"{split}/{app}/pixel.gif", picture(1, (1, 1), "P"), transparency=0)
            f.save(f"{split}/{app}/line.jpg", picture(1, (1, 300)))
            f.save(f"{split}/{app}/panorama.jpg", picture(1, (9000, 500)))
            f.save(f"{split}/{app}/palette.png", picture(1, (64, 64), "P"), transparency=3)
            f.save(f"{split}/{app}/grey alpha.png", picture(1, (64, 64), "LA"))
            f.save(f"{split}/{app}/deep.png", Image.fromarray(np.full((40, 40), 40000, "uint16")))
            info = PngImagePlugin.PngInfo()
            info.add_text("Software", "gnome-screenshot")
            f.save(f"{split}/{app}/text.png", pnginfo=info)
            f.save(f"{split}/{app}/old.bmp")
    for n in range(2):
        f.save(f"train/map/camera{n}.jpg", picture(n, (6000, 4000)), quality=60)
    return "", {}


def roboflow(f):
    """A set from a labelling service: three splits, lists of labels beside the pictures."""
    for split, count in (("train", 5), ("valid", 3), ("test", 2)):
        for part in ("crack", "ok"):
            for n in range(count):
                f.save(f"{split}/{part}/{n}_jpg.rf.0123abcd.jpg", meant=(split.replace("valid", "val"), part))
        f.file(f"{split}/_annotations.coco.json", "{}")
    f.file("README.dataset.txt", "made with care")
    f.file("data.yaml", "train: ../train/images")
    return "", {"left out": ["3 files beside the class folders"]}


def competition(f):
    """A set of a competition: the pictures to predict for are in one folder, without their classes."""
    for split in ("train", "val"):
        for animal in ("cat", "dog"):
            for n in range(4):
                f.save(f"{split}/{animal}/{animal}.{n}.jpg")
    for n in range(6):
        f.save(f"test/{n}.jpg", meant=False)
    f.file("sample_submission.csv", "id,label\n")
    return "", {"says": ["test is not used, as its images are in no folder of a class"]}


def one_heap(f):
    """All pictures in one folder, with the class in the name."""
    for animal in ("cat", "dog"):
        for n in range(6):
            f.save(f"{animal}.{n}.jpg", meant=False)
    return "", {"refused": ["holds images itself", "no folder for each class", "put those of each class into a folder of its own"]}


def by_date(f):
    """Classes with a folder for each day in them, a fifth set aside."""
    for weather in ("sun", "rain"):
        for day in range(5):
            for n in range(2):
                f.save(f"{weather}/2024-05-{day + 1:02}/{n}.jpeg", meant=("train", weather))
    f.meant = {"train": {"sun": 8, "rain": 8}, "val": {"sun": 2, "rain": 2}}
    return "--val-split 0.2", {}


def cut_short(f):
    """A download that broke off, and a memory card that had a bad day."""
    for split in ("train", "val"):
        for animal in ("cat", "dog"):
            for n in range(8):
                f.save(f"{split}/{animal}/{n}.jpg", meant=not (split == "train" and n < 6 and animal == "cat"))
    for n in range(6):
        path = f.path / f"train/cat/{n}.jpg"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * (n + 2) // 9])
    return "", {
        "refused": ["6 images do not decode", "train/cat/0.jpg: ", "train/cat/5.jpg: "],
        "then": ("--skip-bad-images", {"left out": ["6 damaged images"]}),
    }


FOLDERS = [
    phone, phone_heic, heic_called_jpg, scanner, scanner_palette, web, mac_zip, mac_zip_flat, windows, windows_blank, lightroom,
    screenshots, roboflow, competition, one_heap, by_date, cut_short,
]


def wrong(f, expected, status, out, err):
    """What is not as it was meant, and the line that tells."""
    error = next((line for line in err.splitlines() if line.startswith("error: ")), "")
    if "refused" in expected:
        found = [f"no word of {words!r}" for words in expected["refused"] if words not in err]
        if status != 2 or out:
            found.append(f"exit status {status}, expected 2 and no output")
        if "panicked" in err:
            found.append("a panic")
        return found, error
    line = next((line for line in out.splitlines() if line.startswith("data: ")), "")
    found = []
    if status != 0:
        return [f"exit status {status}"], error
    told = re.match(r"data: (\d+) images? to train on(?: \([^)]*(?:\([^)]*\))?\))?(?:,| and) (\d+) to evaluate on", line)
    final = re.search(r", (\d+) to test on at the end", line)
    classes = re.search(r", (\d+) classes", line)
    told = {"train": int(told[1]), "val": int(told[2])} if told else {}
    if final:
        told["test"] = int(final[1])
    meant = f.counts()
    if "val" not in meant and "test" in meant:
        meant["val"] = meant.pop("test")
    if told != meant:
        found.append(f"it trains on {told}, meant was {meant}")
    labels = {label for split in f.meant.values() for label in split}
    if not classes or int(classes[1]) != len(labels):
        found.append(f"{len(labels)} classes were meant")
    found += [f"no word of {words!r}" for words in expected.get("left out", []) + expected.get("says", []) if words not in line]
    if "left out" not in expected and "left out: " in line and "__MACOSX" not in line:
        found.append("something is left out that was meant")
    return found, line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stagger", required=True, help="the binary")
    parser.add_argument("--keep", help="make the folders here, and leave them")
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.stagger)
    temporary = tempfile.TemporaryDirectory()
    base = Path(arguments.keep or temporary.name)
    bad = 0
    chosen = [make for make in FOLDERS if not arguments.names or make.__name__ in arguments.names]
    for make in chosen:
        folder = Folder(base / make.__name__)
        flags, expected = make(folder)
        print(f"## {make.__name__}\n\n{make.__doc__}\n")
        for turn in range(2):
            command = f"train {FLAGS} {flags} --data-dir {make.__name__} --output {make.__name__}-run{turn}"
            run = subprocess.run([binary, *command.split()], cwd=base, capture_output=True, text=True, timeout=300)
            found, line = wrong(folder, expected, run.returncode, run.stdout, run.stderr)
            bad += bool(found)
            lines = run.stderr.rstrip().splitlines() if "refused" in expected else [line]
            shown = [text.replace(str(base.resolve()) + "/", "") for text in lines]
            print(f"{'WRONG' if found else 'right'}: {'refused' if run.returncode == 2 else 'trained'}{' with ' + flags if flags else ''}\n")
            print("".join(f"    {text}\n" for text in shown))
            for text in found:
                print(f"- {text}\n")
            if "then" not in expected:
                break
            more, expected = expected["then"]
            flags = f"{flags} {more}".strip()
    print(f"{len(chosen)} folders, {bad} wrong")
    sys.exit(bool(bad))


main()
