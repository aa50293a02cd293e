"""What rules of profiles say, in Vietnamese: those of our own profiles, and those of R4 that records may break."""

from __future__ import annotations

from collections.abc import Mapping

# Text of a rule (ElementDefinition.constraint.human) -> the same in Vietnamese.
RULES: Mapping[str, str] = {
    "If present, start SHALL have a lower value than end": "ngày bắt đầu phải trước ngày kết thúc",
    "A disease has a name or a code": "bệnh phải có tên hoặc mã",
    "A disease is a code, or words where the source has none": "bệnh phải có mã, hoặc có chữ khi nguồn không ghi mã",
    "A finding has a value, or components with values": "kết quả khám phải có giá trị, hoặc các phần có giá trị",
    "A measurement has its day": "số đo phải có ngày đo",
    "A medicine is a code or words": "thuốc phải có mã hoặc tên",
    "A person has a number, since nothing else finds one surely": (
        "người bệnh cần có số định danh, vì không gì khác tìm được chắc chắn"
    ),
    "A personal identification number (CCCD) has twelve digits": "số định danh cá nhân (CCCD) có 12 chữ số",
    "A practitioner has a number or a name": "nhân viên y tế phải có số hoặc tên",
    "A relative has a name or a number": "người thân phải có tên hoặc số",
    "A report has results or a conclusion": "phiếu kết quả phải có kết quả hoặc kết luận",
    "A result has a value, or the reason why it has none": "kết quả phải có giá trị, hoặc lý do không có giá trị",
    "A supply is a code or words": "vật tư phải có mã hoặc tên",
    "A total is an amount of money": "tổng phải là một số tiền",
    "A vaccine has a name or a code": "vắc xin phải có tên hoặc mã",
    "A visit has its beginning": "lượt khám phải có thời điểm bắt đầu",
    "An ICD-10 code is a letter, two digits and at most two more characters after a dot": (
        "mã ICD-10 gồm một chữ cái, hai chữ số và nhiều nhất hai ký tự sau dấu chấm"
    ),
    "An address in Việt Nam names its province": "địa chỉ ở Việt Nam phải ghi tỉnh",
    "An agent has a name or a code": "tác nhân dị ứng phải có tên hoặc mã",
    "Each field has a value": "mỗi trường phải có giá trị",
    "The code is ABO (883-9), Rh (10331-7) or both (882-1) of LOINC": (
        "mã phải là nhóm máu ABO (883-9), Rh (10331-7) hoặc cả hai (882-1) của LOINC"
    ),
    "The code is of the birth: LOINC for weight (8339-4), length (89269-5), Apgar (9272-6, 9274-2, 9271-8), "
    "gestational age (11884-4, 18185-9), delivery (72149-8), or the birth part of a record": (
        "mã phải nói về lúc sinh: LOINC cho cân nặng (8339-4), chiều dài (89269-5), Apgar (9272-6, 9274-2, 9271-8), "
        "tuổi thai (11884-4, 18185-9), cách sinh (72149-8), hoặc phần lúc sinh của hồ sơ"
    ),
    "The fourth digit of a personal identification number is even for a man and odd for a woman": (
        "chữ số thứ tư của số định danh cá nhân là số chẵn với nam, số lẻ với nữ"
    ),
    "There is a value, or components with values": "phải có giá trị, hoặc các phần có giá trị",
    "What a line holds beside its item is money or a number": "ngoài tên mục, mỗi dòng chỉ ghi số tiền hoặc con số",
    "What was asked or found is a code or words": "điều được hỏi hoặc tìm thấy phải có mã hoặc chữ",
    "What was done is a code or words": "việc đã làm phải có mã hoặc chữ",
    "What was measured is a code or words": "chỉ số đo phải có mã hoặc chữ",
}
