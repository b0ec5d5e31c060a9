from collections import Counter
from dataclasses import replace

import onnxruntime
import pytest

from src.data.errors import InputError
from src.images.decode import cv2, decode, np
from src.ocr import engine as ocr
from src.ocr import sessions
from src.ocr.retry_passes import read_with_retries
from src.ocr.text_lines import FIRST_PASS, OcrPass
from src.prepare.preprocessing import preprocess
from src.reading.cross_line import parse_lines
from src.settings import PreprocessSettings
from tests.conftest import make_folder


def page(small_print):
    image = np.full((1800, 1800, 3), 255, np.uint8)
    cv2.putText(image, "SHEA BUTTER", (300, 900), 0, 3, (0, 0, 0), 5)
    cv2.putText(image, small_print, (500, 1500), 0, 0.35, (40, 40, 40), 1, cv2.LINE_AA)
    return image


def test_lines_have_text_confidence_and_corners_in_source_pixels():
    ((text, confidence, box),) = ocr.read(page("")[:1200])
    assert text == "SHEA BUTTER"
    assert confidence > 0.9
    (left, top), (right, bottom) = np.min(box, axis=0), np.max(box, axis=0)
    assert abs(left - 300) < 30
    assert abs(right - 905) < 30
    assert abs(bottom - 905) < 30
    assert 800 < top < 850
    assert ocr.read(np.full((300, 300, 3), 255, np.uint8)) == []


def test_where_no_quantity_was_read_retry_passes_run():
    image = page("NET WT 113.4 g")
    lines, parsed_lines = read_with_retries(image, ocr.read(image), [])
    texts = [line.text for line in lines]
    assert "SHEA BUTTER" in texts
    assert "NETWT113.4g" in [text.replace(" ", "") for text in texts]
    assert parsed_lines == parse_lines(lines, 1800, 1800)


def test_upright_text_is_read():
    turned = np.rot90(page("")[700:1000, 200:1000]).copy()
    ((text, _, box),) = ocr.read(turned)
    assert text == "SHEA BUTTER"
    assert np.ptp(box, axis=0)[1] > 3 * np.ptp(box, axis=0)[0]


def test_compiled_shapes_do_not_pile_up():
    session = ocr._engine().text_rec.session
    for width in range(320, 320 + 12 * 160, 160):
        session(np.zeros((1, 3, 48, width), np.float32))
    assert session._compiled.cache_info().currsize <= 8


def test_a_pass_has_an_engine_of_its_own_with_the_models_of_all():
    first, faint = ocr._engine_for(FIRST_PASS), ocr._engine_for(OcrPass(960, 1280, faint=True))
    assert first.text_det.session is faint.text_det.session
    image = page("")[:1200]
    before = ocr.read(image)
    ocr.read(image, OcrPass(960, 1280, faint=True))
    assert ocr.read(image) == before
    assert (first.text_det.postprocess_op.thresh, faint.text_det.postprocess_op.thresh) == (0.3, 0.1)


@pytest.fixture
def precision():
    """Sets the precision; float32 again afterwards."""
    yield ocr.use
    ocr.use("f32")


@pytest.mark.parametrize("has_amx", [True, False])
def test_bfloat16_is_for_the_recogniser_on_cpus_with_amx(precision, monkeypatch, has_amx):
    want = ocr.read(page("NET WT 113.4 g")[:1200])
    monkeypatch.setattr(ocr, "_has_amx", lambda: has_amx)
    assert precision("auto") == ("+bf16" if has_amx else "")
    got = ocr.read(page("NET WT 113.4 g")[:1200])
    assert [(line.text, line.quad) for line in got] == [(line.text, line.quad) for line in want]
    engine = ocr._engine()
    hints = [part.session._precision for part in (engine.text_det, engine.text_cls, engine.text_rec)]
    assert hints == ["f32", "f32", "bf16" if has_amx else "f32"]
    assert precision("f32") == ""
    assert ocr.read(page("NET WT 113.4 g")[:1200]) == want


@pytest.fixture
def read_by_onnxruntime(monkeypatch):
    """Reads as on a GPU, by onnxruntime, but on the CPU."""
    monkeypatch.setattr(sessions, "CUDA", ("CPUExecutionProvider", {}))
    ocr.use("auto", "cuda")
    yield
    ocr.use("f32")


def test_a_gpu_gets_the_same_models_and_shapes_and_finds_the_same(precision, read_by_onnxruntime):
    image = page("NET WT 113.4 g")
    engine = ocr._engine()
    parts = engine.text_det, engine.text_cls, engine.text_rec
    assert {type(part.session) for part in parts} == {sessions.CudaSession}
    got, _ = read_with_retries(image, ocr.read(image), [])
    assert precision("f32") == ""
    want, _ = read_with_retries(image, ocr.read(image), [])
    assert [line.text for line in got] == [line.text for line in want]


def test_a_gpu_reads_real_images_as_a_cpu_but_for_one_line_in_a_hundred(precision, read_by_onnxruntime, real):
    images = [decode(file.read_bytes()) for file in sorted((real / "images").iterdir())[::90]]
    got = [line.text for image in images for line in ocr.read(image)]
    precision("f32")
    want = [line.text for image in images for line in ocr.read(image)]
    assert len(want) > 50
    assert sum((Counter(want) - Counter(got)).values()) <= len(want) / 100
    assert len(got) == pytest.approx(len(want), rel=0.01)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="onnxruntime has a GPU's provider",
)
def test_without_a_gpu_one_sentence_and_nothing_is_read(tmp_path):
    data = make_folder(tmp_path / "data", 1, 1)
    settings = PreprocessSettings(data, tmp_path / "out", ocr=True, ocr_device="cuda")
    with pytest.raises(InputError, match=r"^--ocr-device cuda: .* pip install onnxruntime-gpu==.*[^.]$"):
        preprocess(settings)
    with pytest.raises(InputError, match=r"^--ocr-device cuda: .* add --ocr"):
        preprocess(replace(settings, ocr=False))
    with pytest.raises(InputError, match=r"^--ocr-device cuda: .* leave out --ray"):
        preprocess(replace(settings, ray="auto"))
    assert not (tmp_path / "out").exists()
