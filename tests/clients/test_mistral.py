"""Mistral's own client."""

from __future__ import annotations

import base64

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from mistralai.client.models import OCRImageBlock

from tests.clients.conftest import Service


@pytest.fixture
def client(service: Service) -> Mistral:
    return Mistral(api_key=service.key, server_url=service.url)


def test_a_data_uri(service: Service, client: Mistral) -> None:
    uri = f"data:application/pdf;base64,{base64.b64encode(service.sample.read_bytes()).decode()}"
    document = {"type": "document_url", "document_url": uri, "document_name": "sample.pdf"}
    answer = client.ocr.process(model="any", document=document, include_image_base64=True)
    service.check(*(page.markdown for page in answer.pages))
    assert answer.usage_info.pages_processed == 2
    blocks = [block for page in answer.pages for block in page.blocks]
    assert {"title", "table", "text"} <= {block.type for block in blocks}
    assert not [block for block in blocks if block.type == "UNKNOWN"]
    images = {image.id: image for page in answer.pages for image in page.images}
    assert {block.image_id for block in blocks if isinstance(block, OCRImageBlock)} <= set(images)
    assert all(image.image_base64.startswith("data:image/jpeg;base64,") for image in images.values())


def test_a_file_by_its_id_and_its_url(service: Service, client: Mistral) -> None:
    upload = {"file_name": "sample.pdf", "content": service.sample.read_bytes()}
    file = client.files.upload(file=upload, purpose="ocr")
    assert client.files.retrieve(file_id=file.id).filename == "sample.pdf"
    assert client.files.download(file_id=file.id).read() == service.sample.read_bytes()
    answer = client.ocr.process(model="any", document={"type": "file", "file_id": file.id}, pages=[1])
    assert [page.index for page in answer.pages] == [1]
    url = client.files.get_signed_url(file_id=file.id, expiry=1).url
    answer = client.ocr.process(model="any", document={"type": "document_url", "document_url": url}, pages="0")
    assert [page.index for page in answer.pages] == [0]
    assert client.files.delete(file_id=file.id).deleted


async def test_async(service: Service, client: Mistral) -> None:
    file = await client.files.upload_async(
        file={"file_name": "sample.pdf", "content": service.sample.read_bytes()}, purpose="ocr"
    )
    answer = await client.ocr.process_async(model="any", document={"type": "file", "file_id": file.id})
    service.check(*(page.markdown for page in answer.pages))


def test_an_error_has_its_text(client: Mistral) -> None:
    document = {"type": "document_url", "document_url": "data:application/pdf;base64,bm9uZQ=="}
    with pytest.raises(SDKError) as failure:
        client.ocr.process(model="any", document=document)
    assert failure.value.status_code == 400
    assert "unsupported-media" in failure.value.body
