"""Words of the sample application: error messages of every category, names of files, numbers of parcels."""

from random import Random

ERROR_MESSAGES: dict[str, tuple[str, ...]] = {
    "二维码识别错误": (
        "二维码识别失败：图片模糊，无法定位（{n}×{n} 像素）",
        "二维码解码错误：第 {m} 块校验和不匹配",
        "未检测到二维码：IMG_{n}.jpg",
        "QR code not found in IMG_{n}.jpg",
        "QR code decode error: checksum mismatch in block {m}",
    ),
    "物流查询错误": (
        "物流查询失败：单号 {parcel} 不存在",
        "物流接口返回错误码 {n}：请求过于频繁，单号 {parcel}",
        "物流公司接口异常：HTTP {http}，请求 {hex}",
        "tracking query failed for {parcel}: HTTP {http}",
        "tracking API rejected request {hex}: rate limit exceeded",
    ),
    "文档生成错误": (
        "文档生成失败：模板 送达回证_v{m}.docx 缺少字段“收件人”",
        "文档转换错误：LibreOffice 退出码 {m}，文件 {hex}.docx",
        "文档保存失败：目录配额不足，还差 {n} KB",
        "document generation failed: template receipt_v{m}.docx not found",
    ),
    "任务超时": (
        "任务超时：执行 {n} 秒后被终止",
        "任务执行超时（上限 {n} 秒），worker-{m}",
        "TimeoutError: task {hex} timed out after {n} s",
    ),
    "数据库错误": (
        "数据库连接失败：10.0.{m}.17:5432 拒绝连接",
        "数据库死锁：进程 {n} 等待事务 {hex}",
        "database error: deadlock detected, process {n} waits for ShareLock",
    ),
    "其他错误": (
        "未知错误：{hex}",
        "图片文件损坏：IMG_{n}.jpg",
        "内存不足：worker-{m} 已使用 {n} MB",
        "IndexError: list index out of range (item {m})",
        "Traceback (most recent call last):\n"
        + '  File "/srv/receipts/steps.py", line {n}, in run\n    return step(item)\n' * 12
        + "KeyError: '收件人_{hex}'",
    ),
}
"""Category -> templates. No message holds a keyword of another category, so that counts can be checked."""

# How often each category fails, in percent; none reaches the half at which an alert about one error type is due.
_SHARES = (30, 30, 15, 12, 8, 5)
_CATEGORY_OF_PERCENT = tuple(
    category for category, share in zip(ERROR_MESSAGES, _SHARES, strict=True) for _ in range(share)
)
_HTTP = (429, 500, 502, 503)
_CARRIERS = ("SF", "SF", "YT")

_NAMES: dict[str, tuple[str, ...]] = {
    "image_path": ("IMG.jpg", "回证照片.jpg", "送达现场.jpg"),
    "document_path": ("送达回证.docx", "report.docx"),
    "screenshot_path": ("页面截图.png", "screen.png"),
    "qr_code_path": ("qr.png", "二维码.png"),
    "barcode_path": ("barcode.png", "条形码.png"),
    "delivery_receipt_doc_path": ("签收单.docx", "receipt.docx"),
    "tracking_screenshot_path": ("物流轨迹.png", "tracking.png"),
}


def error_message(random: Random, parcel: str | None) -> str:
    """Return one failed task's message, its numbers and ids different each time."""
    templates = ERROR_MESSAGES[_CATEGORY_OF_PERCENT[int(random.random() * 100)]]
    return templates[int(random.random() * len(templates))].format(
        n=100 + int(random.random() * 4900),
        m=1 + int(random.random() * 9),
        hex=f"{random.getrandbits(32):08x}",
        http=_HTTP[random.getrandbits(2)],
        parcel=parcel or parcel_number(random),
    )


def parcel_number(random: Random) -> str:
    """Return a tracking number of one of the carriers: two letters, thirteen digits."""
    return f"{_CARRIERS[int(random.random() * 3)]}{int(random.random() * 1e13):013d}"


def file_name(random: Random, column: str, task_id: str) -> str:
    """Return a file name that no other task and no other column of this task has."""
    names = _NAMES[column]
    return f"{task_id[:16]}_{names[int(random.random() * len(names))]}"
