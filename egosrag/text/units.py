"""Units of measurement in Chinese and English, and which of them are the same."""

from __future__ import annotations

import re

# Each line: the canonical unit, then its symbols, which are case-sensitive; its English words; its Chinese words.
_TABLE = """
s | s sec | second seconds | 秒钟 秒
min | min mins | minute minutes | 分钟 分
h | h hr hrs | hour hours | 小时 钟头
day | d | day days | 天 日
week | | week weeks | 周 星期 礼拜
month | | month months | 月
year | | year years | 年 周年
ms | ms | millisecond milliseconds | 毫秒
km | km KM | kilometre kilometres kilometer kilometers | 公里 千米
m | m | metre metres meter meters | 米
cm | cm | centimetre centimetres centimeter centimeters | 厘米 公分
mm | mm | millimetre millimetres millimeter millimeters | 毫米
µm | µm μm um | micrometre micrometres micrometer micrometers | 微米
in | | inch inches | 英寸
ft | ft | foot feet | 英尺
mile | mi | mile miles | 英里
l | l L | litre litres liter liters | 公升 升
ml | ml mL | millilitre millilitres milliliter milliliters | 毫升
gal | gal | gallon gallons | 加仑
kg | kg KG | kilogram kilograms kilogramme kilogrammes kilo kilos | 公斤 千克
g | g | gram grams gramme grammes | 克
mg | mg | milligram milligrams | 毫克
t | t | tonne tonnes ton tons | 吨
lb | lb lbs | pound pounds | 磅
°C | °C ℃ | degrees_Celsius degree_Celsius degrees_centigrade Celsius | 摄氏度
°F | °F ℉ | degrees_Fahrenheit degree_Fahrenheit Fahrenheit | 华氏度
° | ° º | degree degrees | 度
K | K | kelvin |
bar | bar | bars | 巴
mbar | mbar | millibar |
kPa | kPa KPa | kilopascal kilopascals | 千帕
MPa | MPa | megapascal megapascals | 兆帕
Pa | Pa | pascal pascals | 帕
psi | psi PSI | |
V | V | volt volts | 伏特 伏
mV | mV | millivolt millivolts | 毫伏
kV | kV | kilovolt kilovolts | 千伏
A | A | ampere amperes amp amps | 安培 安
mA | mA | milliampere milliamperes | 毫安
Ah | Ah | ampere_hours ampere_hour | 安时
mAh | mAh | | 毫安时
W | W | watt watts | 瓦特 瓦
kW | kW KW | kilowatt kilowatts | 千瓦
MW | MW | megawatt megawatts | 兆瓦
kWh | kWh | kilowatt_hours kilowatt_hour | 千瓦时
Wh | Wh | watt_hours watt_hour |
hp | hp PS | horsepower | 马力
Nm | Nm N·m N.m N∙m N⋅m | newton_metres newton_meters | 牛·米 牛米
N | N | newton newtons | 牛顿
kN | kN | | 千牛
Ω | Ω Ohm | ohm ohms | 欧姆
kΩ | kΩ | |
rpm | rpm r/min | revolutions_per_minute | 转/分钟 转/分
Hz | Hz | hertz | 赫兹
kHz | kHz | | 千赫
MHz | MHz | | 兆赫
GHz | GHz | |
dB | dB dB(A) | decibel decibels | 分贝
lx | lx lux | | 勒克斯
lm | lm | lumen lumens | 流明
% | % ％ | percent per_cent |
‰ | ‰ | |
ppm | ppm | |
km/h | km/h kph KM/H | kilometres_per_hour kilometers_per_hour | 公里/小时 千米/小时 公里每小时 千米每小时 公里/时
mph | mph | miles_per_hour | 英里/小时
m/s | m/s | metres_per_second meters_per_second | 米/秒
l/100 km | l/100_km L/100_km L/100km l/100km | litres_per_100_km | 升/100公里 升/百公里
kWh/100 km | kWh/100_km kWh/100km | | 千瓦时/100公里
g/km | g/km | | 克/公里
l/min | l/min L/min | | 升/分钟
m² | m² m2 | square_metres square_meters | 平方米
m³ | m³ m3 | cubic_metres cubic_meters | 立方米
cm³ | cm³ cc ccm | cubic_centimetres | 立方厘米
mm² | mm² | | 平方毫米
KB | KB kB | |
MB | MB | |
GB | GB | |
€ | € EUR | euro euros | 欧元
$ | $ USD | dollar dollars | 美元
¥ | ¥ RMB CNY | yuan | 元 块
time | | times | 次 遍 回
person | | person persons people passengers occupants | 人 名
step | | step steps | 步
page | | page pages | 页
row | | row rows | 排
"""
# Counters: a number that has another one is another quantity, but none of them is a measure.
_COUNTERS = "个 挡 档 级 种 只 把 条 位 格 层 座 门 辆 台 倍 圈 声 颗 根 片 张 组 项 号 段 节 处 款 下 对 枚 块 盏 套"


def _words(text: str) -> list[str]:
    return [word.replace("_", " ") for word in text.split()]


_SAME: dict[str, str] = {}
_symbols, _english, _chinese = list[str](), list[str](), list[str]()
for _line in _TABLE.strip().splitlines():
    _name, _short, _long, _han = (part.strip() for part in _line.split("|"))
    _SAME |= {word: _name for word in _words(_short)} | {word.casefold(): _name for word in _words(f"{_long} {_han}")}
    _symbols += _words(_short)
    _english += _words(_long)
    _chinese += _words(_han)
_SAME |= {counter: counter for counter in _words(_COUNTERS)} | {"档": "挡"}
_chinese += _words(_COUNTERS)


def _any(words: list[str]) -> str:
    escaped = (re.escape(word).replace("\\ ", r"\s") for word in sorted(set(words), key=len, reverse=True))
    return "|".join(word.replace("/", r"\s?/\s?") for word in escaped)


#: a unit that is a word, in any case
UNIT = rf"(?:{_any(_chinese)}|(?:{_any(_english)})(?![A-Za-z]))"
#: a unit that is a symbol
SYMBOL = rf"(?-i:{_any(_symbols)})"


def canonical_unit(unit: str) -> str:
    """The canonical unit, "kg" for 公斤; an unknown unit as it is."""
    unit = re.sub(r"\s*/\s*", "/", re.sub(r"\s+", " ", unit.strip()))
    return _SAME.get(unit) or _SAME.get(unit.casefold(), unit)
