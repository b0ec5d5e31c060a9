from src.images.decode import cv2, np
from src.ocr import engine as ocr


def page(small_print):
    image = np.full((1800, 1800, 3), 255, np.uint8)
    cv2.putText(image, "SHEA BUTTER", (300, 900), 0, 3, (0, 0, 0), 5)
    cv2.putText(image, small_print, (500, 1500), 0, 0.35, (40, 40, 40), 1, cv2.LINE_AA)
    return image


def test_lines_have_text_confidence_and_corners_in_source_pixels():
    ((text, confidence, box),) = ocr.read_lines(page("")[:1200])
    assert text == "SHEA BUTTER"
    assert confidence > 0.9
    (left, top), (right, bottom) = np.min(box, axis=0), np.max(box, axis=0)
    assert abs(left - 300) < 30
    assert abs(right - 905) < 30
    assert abs(bottom - 905) < 30
    assert 800 < top < 850
    assert ocr.read_lines(np.full((300, 300, 3), 255, np.uint8)) == []


def test_where_no_quantity_was_read_a_closer_look_is_taken():
    image = page("NET WT 113.4 g")
    texts = [text for text, _, _ in ocr.look_closer(image, ocr.read_lines(image), [])]
    assert "SHEA BUTTER" in texts
    assert "NETWT113.4g" in [text.replace(" ", "") for text in texts]


def test_upright_text_is_read():
    turned = np.rot90(page("")[700:1000, 200:1000]).copy()
    ((text, _, box),) = ocr.read_lines(turned)
    assert text == "SHEA BUTTER"
    assert np.ptp(box, axis=0)[1] > 3 * np.ptp(box, axis=0)[0]


def test_compiled_shapes_do_not_pile_up():
    session = ocr._engine().text_rec.session
    for width in range(320, 320 + 12 * 160, 160):
        session(np.zeros((1, 3, 48, width), np.float32))
    assert len(session._compiled) <= 8
