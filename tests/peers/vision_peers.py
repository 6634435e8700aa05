"""The steps of `cargo bench -p cellmill-vision` done with OpenCV, Pillow and scikit-image.

Prints JSON lines {"figure", "value", "unit"}: milliseconds of process CPU time on one
thread, the least of several rounds. Usage: vision_peers.py FOLDER_OF_JPEGS
"""

import io
import json
import pathlib
import sys
import time
import zipfile

import cv2
import numpy as np
from PIL import Image
from skimage import feature, filters, measure, segmentation
from scipy import ndimage

ROUNDS = 7
N_CROPS = 100
HALF = 50
FIELD = (2448, 2048)

cv2.setNumThreads(1)


def report(figure, n_images, run, rounds=ROUNDS):
    run()
    least = min(timed(run) for _ in range(rounds))
    print(json.dumps({"figure": figure, "value": round(least * 1e3 / n_images, 3), "unit": "ms_cpu"}), flush=True)


def timed(run):
    start = time.process_time()
    run()
    return time.process_time() - start


def centers(width, height):
    """The same places that the bench cuts."""
    return [(i * 7919 % width, i * 6151 % height) for i in range(N_CROPS)]


def square(x, y, width, height):
    side = min(2 * HALF, width, height)
    left = min(max(x - side // 2, 0), width - side)
    top = min(max(y - side // 2, 0), height - side)
    return left, top, side


def cv_decode(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def cv_thumbnail(image):
    height, width = image.shape[:2]
    scale = 256 / max(width, height)
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def cv_crops(image, gray):
    height, width = image.shape[:2]
    source = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if gray else image
    cells = []
    for x, y in centers(width, height):
        left, top, side = square(x, y, width, height)
        cells.append(cv2.imencode(".png", source[top : top + side, left : left + side])[1].tobytes())
    return cells


def pil_crops(image, gray):
    cells = []
    for x, y in centers(*image.size):
        left, top, side = square(x, y, *image.size)
        cell = image.crop((left, top, left + side, top + side))
        out = io.BytesIO()
        (cell.convert("L") if gray else cell).save(out, "PNG")
        cells.append(out.getvalue())
    return cells


def pil_decode(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def pil_thumbnail(image):
    small = image.copy()
    small.thumbnail((256, 256), Image.Resampling.BOX)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    return out.getvalue()


def pack(cells):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for index, cell in enumerate(cells):
            archive.writestr(f"cell_{index:03}.png", cell)
    return out.getvalue()


def fill_holes(mask):
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 255, cv2.FILLED)


def cv_finder(image):
    """Blur, Canny with Otsu's thresholds, fill, distance transform, watershed."""
    stain = cv2.GaussianBlur(255 - image.min(axis=2), (5, 5), 1.4)
    dx, dy = cv2.Sobel(stain, cv2.CV_16S, 1, 0), cv2.Sobel(stain, cv2.CV_16S, 0, 1)
    magnitude = cv2.convertScaleAbs(cv2.add(cv2.absdiff(dx, 0), cv2.absdiff(dy, 0)), alpha=0.125)
    high, _ = cv2.threshold(magnitude, 0, 255, cv2.THRESH_OTSU)
    edges = cv2.Canny(dx, dy, high * 4, high * 8)
    _, mask = cv2.threshold(stain, 0, 255, cv2.THRESH_OTSU)
    kernel = np.ones((5, 5), np.uint8)
    mask = cv2.bitwise_or(mask, cv2.morphologyEx(edges, cv2.MORPH_CLOSE, kernel))
    mask = cv2.morphologyEx(fill_holes(mask), cv2.MORPH_OPEN, kernel)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    peaks = (distance == cv2.dilate(distance, np.ones((21, 21), np.uint8))) & (distance > 4)
    _, markers = cv2.connectedComponents(peaks.astype(np.uint8))
    markers[mask == 0] = markers.max() + 1
    markers = cv2.watershed(image, markers)
    return ndimage.find_objects(markers.clip(0))


def skimage_finder(image):
    stain = filters.gaussian(255 - image.min(axis=2), 1.4, preserve_range=True)
    magnitude = filters.sobel(stain)
    high = filters.threshold_otsu(magnitude)
    edges = feature.canny(stain, 0, high / 2, high)
    mask = ndimage.binary_fill_holes(edges | (stain > filters.threshold_otsu(stain)))
    mask = ndimage.binary_opening(mask, np.ones((5, 5)))
    distance = ndimage.distance_transform_edt(mask)
    peaks = feature.peak_local_max(distance, min_distance=10, labels=measure.label(mask))
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return measure.regionprops(segmentation.watershed(-distance, markers, mask=mask))


def tiled(images):
    """The images side by side, as the bench's field."""
    height, width = images[0].shape[:2]
    field = np.zeros((FIELD[1], FIELD[0], 3), np.uint8)
    columns = -(-FIELD[0] // width)
    for top in range(0, FIELD[1], height):
        for left in range(0, FIELD[0], width):
            place = field[top : top + height, left : left + width]
            tile = images[(top // height * columns + left // width) % len(images)]
            place[: tile.shape[0], : tile.shape[1]] = tile[: place.shape[0], : place.shape[1]]
    return field


def main():
    files = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jpg"))]
    n_images = len(files)
    images = [cv_decode(data) for data in files]
    pictures = [pil_decode(data) for data in files]

    def each(items, step):
        return lambda: [step(it) for it in items]

    report("cv2.decode_rgb", n_images, each(files, cv_decode))
    report("cv2.thumbnail", n_images, each(images, cv_thumbnail))
    report("cv2.crops_gray_to_pack", n_images, each(images, lambda it: pack(cv_crops(it, True))))
    report("cv2.crops_color_to_pack", n_images, each(images, lambda it: pack(cv_crops(it, False))))

    def cv_pipeline(data):
        image = cv_decode(data)
        return cv_thumbnail(image), cv_crops(image, True)

    report("cv2.pipeline", n_images, each(files, cv_pipeline))
    report("cv2.finder", n_images, each(images, cv_finder), rounds=3)
    field = tiled(images)
    report("cv2.finder_field", 1, lambda: cv_finder(field), rounds=3)

    report("pillow.decode_rgb", n_images, each(files, pil_decode))
    report("pillow.thumbnail", n_images, each(pictures, pil_thumbnail))
    report("pillow.crops_gray_to_pack", n_images, each(pictures, lambda it: pack(pil_crops(it, True))), rounds=3)
    report("pillow.crops_color_to_pack", n_images, each(pictures, lambda it: pack(pil_crops(it, False))), rounds=3)

    def pil_pipeline(data):
        image = pil_decode(data)
        return pil_thumbnail(image), pil_crops(image, True)

    report("pillow.pipeline", n_images, each(files, pil_pipeline), rounds=3)
    report("skimage.finder", n_images, each(images, skimage_finder), rounds=1)
    report("skimage.finder_field", 1, lambda: skimage_finder(field), rounds=1)


main()
