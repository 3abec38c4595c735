"""Kinds of questions to a role, and what sentences that answer them look like (Chinese and English).

Each kind is a pair of regular expressions: one recognizes the question, the other a sentence that answers it. None is
written for a particular card. Where the answer has a form of its own (an age, a number), the kind is ``strict``: a
sentence without that form cannot answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_DIGITS = (
    r"\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|dozen"
)
KIN = (
    r"\b(?:mother|father|mum|mom|dad|parent|sister|brother|twin|son|daughter|wife|missus|husband|uncle|aunt|cousin"
    r"|nephew|niece|grand(?:mother|father|ma|pa|son|daughter)|girlfriend|boyfriend|fianc\w+)s?\b"
    r"|父亲|母亲|父母|爸爸|妈妈|[爸妈爹]|哥哥|姐姐|弟弟|妹妹|[哥姐弟妹]|嫂子|儿子|女儿|闺女|妻子|太太|老婆|丈夫|老公|老伴"
    r"|叔叔|舅舅|姑姑|姨妈|爷爷|奶奶|外公|外婆|孙子|孙女"
)
ANIMAL = (
    r"\b(?:dog|doggo|hound|puppy|cat|kitten|kitty|horse|mare|pony|mule|donkey|parrot|raven|crow|owl|falcon|bird|hamster"
    r"|rabbit|goat|ferret|turtle|tortoise|snake|rat|mouse|fish)s?\b|[狗犬猫马骡驴鸟鹰鹦兔龟蛇鼠鱼羊]"
)
# Groups of synonyms, as stems (see :func:`egosrag.egos.extract.evidence.content_terms`).
SYNONYMS = (
    ("dog", "doggo", "hound", "puppy"),
    ("cat", "kitten", "kitty"),
    ("horse", "mare", "pony", "stalli"),
    ("bird", "parrot", "raven", "crow"),
    ("mother", "mum", "mom"),
    ("father", "dad"),
    ("wife", "missus"),
    ("parent", "mother", "father", "mum", "mom", "dad"),
    ("kid", "child", "childr", "son", "daught"),
    ("colour", "color"),
    ("job", "work", "works"),
    ("boat", "ship"),
    ("shop", "store"),
    ("狗", "犬", "狗狗"),
    ("猫", "猫咪"),
    ("妈", "妈妈", "母亲", "娘亲"),
    ("爸", "爸爸", "父亲", "爹"),
    ("父母", "爸", "妈", "父亲", "母亲", "爹"),
    ("女儿", "闺女"),
    ("妻子", "老婆", "太太", "夫人", "老伴", "嫂子"),
    ("丈夫", "老公", "姐夫"),
    ("朋友", "好友", "伙伴"),
    ("师父", "师傅"),
    ("徒弟", "弟子"),
)


class QuestionKind(NamedTuple):
    """A kind of question, such as the one for the role's age.

    Attributes:
        question: matches questions of this kind.
        answer: matches sentences that answer them.
        label: the part of a card in which the answers are; empty where they can be in any.
        strict: a sentence that does not match ``answer`` cannot answer the question.
        reliable: a sentence that matches ``answer`` nearly always answers the question.
    """

    question: re.Pattern[str]
    answer: re.Pattern[str]
    label: str = ""
    strict: bool = False
    reliable: bool = False


def _kind(question: str, answer: str, label: str = "", *, strict: bool = False, reliable: bool = False) -> QuestionKind:
    return QuestionKind(re.compile(question, re.IGNORECASE), re.compile(answer, re.IGNORECASE), label, strict, reliable)


KINDS = (
    _kind(  # the user's own name: answered by what the user said, never by the card
        r"\bmy name\b|我叫什么|我的名字",
        r"\bmy name(?:['’]s| is)\b|\bcall me\b|\bI(?:['’]m| am) (?-i:[A-Z])|我叫|叫我|我的名字",
        reliable=True,
    ),
    _kind(
        r"\bhow old\b|\byour age\b|多大(?!的)|几岁(?![就来到进学开])|年纪|岁数|年龄|高寿|贵庚|芳龄",
        rf"\byears? old\b|-year-old|\baged\b|\b(?:is|turn\w*) (?:{_DIGITS})\b(?! \w+s\b)|\bage(?: is|:) \d"
        rf"|\b(?:person|man|woman|girl|boy) of (?:{_DIGITS})\b|\bolder than \d|\b(?:{_DIGITS}) (?:summers|winters)\b"
        r"|^[^,]{1,30}, \d{1,3},|\b[Aa]t \d{1,3},|^.{0,8}[，,][^，。]{1,4}岁"
        r"|(?:今年|现在|年方|年过|年纪|年龄：?|刚满|已经?|才|活了|快过完|有|了)[^，。]{1,4}岁",
        strict=True,
        reliable=True,
    ),
    _kind(r"\bhow tall\b|身高|多高", r"\b(?:feet|foot|tall|cm|metres?|meters?)\b|[米尺]|厘米|身高", strict=True),
    _kind(
        r"\b(?:earn|salary|wages?|paid)\b|\bpay you\b|\bcosts?\b|多少钱|工资|薪水|挣多少",
        r"[$£€¥]|\b(?:dollars?|pounds?|euros?|coins?|salary|wages?|pay)\b|元|块钱|银子|铜钱|工资|月薪",
        strict=True,
    ),
    _kind(
        r"\bhow (?:many|long|often|much|far)\b|多少|多久|多长|多远|几[年个次条只匹头天位口]",
        rf"\b(?:{_DIGITS}|years|always|once|twice|every|(?:mon|tues|wednes|thurs|fri|satur|sun)days?)\b|[一二两三四五六七八九十百千半几\d]",
        strict=True,
    ),
    _kind(
        r"\b(?:what|which) year\b|\bwhen (?:were|was|did)\b|哪一?年|什么时候",
        r"\d{3,4}|[年月季冬夏春秋]|\bago\b|\b(?:spring|summer|autumn|winter)\b",
        strict=True,
    ),
    _kind(
        r"\bborn\b|\bwhere (?:are|do) you (?:come )?from\b|\bcome from\b|\bhome ?town\b|\bgr[eo]w up\b"
        r"|哪[里儿]的?人|什么地方人|出生|生在|老家|家乡|故乡|来自|籍贯",
        r"\bborn\b|\b(?:comes?|came|is|hails?) from\b|\bgrew up\b|\bhometown\b|\bnative\b|\braised\b"
        r"|出生|生[在于]|老家|家乡|故乡|来自|祖籍|长大|是[^，。,]{1,12}人[，。,]",
        reliable=True,
    ),
    _kind(r"\blive\b|\bhome\b|\bhouse\b|住", r"\blives?\b|\bhome (?:is|in)\b|\bhouse\b|\bhaunts?\b|\bapartment\b|住"),
    _kind(
        r"^(?!.*(?:\bbefore\b|\bused to\b|以前|之前|从前)).*(?:\bfor a living\b"
        r"|\bwhat do you do\b(?! (?:at|on|in|when|if|after|to|for f))"
        r"|\byour (?:job|work|trade|profession|occupation|role|position)\b|做什么(?:工作|的)|[干做]什么活|职业"
        r"|哪一?行|干什么的|干嘛的|干啥的|营生|谋生|当什么)",
        r"\b(?:is|am) (?:an?|the)\b|\bworks?\b|\bruns?\b|\bmakes?\b|\bguards?\b|\bserves?\b|\bkeeps?\b|\bjob\b"
        r"|\b(?:works?|worked|trained|employed) as\b|是.{0,16}[师员工匠长手医者夫头士徒侠探]|当|做|开了|守|职业",
        "background",
    ),
    _kind(
        r"\bafraid\b|\bscare|\bfear|\bterrif|\bfrighten|\bnervous|\bfreak|\bphobia|怕|恐惧",
        r"\bafraid\b|\bscare|\bfears?\b|\bterrif|\bfrighten|\bnervous|\bphobia|\bdread|\bfaints?\b|怕|恐",
        reliable=True,
    ),
    _kind(
        r"\bhate\b|\bdislike|\bstand\b|\bdetest|\bannoy|\bbother|讨厌|不喜欢|受不了|最烦",
        r"\bhates?\b|\bdislike|\b(?:can't|cannot) (?:stand|bear)\b|\bdespise|\bdetest|\bloathe"
        r"|讨厌|不喜欢|受不了|恨|烦|闻不得|不吃",
        reliable=True,
    ),
    _kind(
        r"\bfav(?:ou?rite)?\b|\blikes?\b(?! to be)|\blove\b|\benjoy|\bhobb|\bfun\b|\b(?:free|spare) time\b"
        r"|喜欢|爱好|最爱|爱做",
        r"\blikes?\b|\bloves?\b|\bfond\b|\bfavou?rite\b|\benjoy|\badore|\bpassion|\bnever tires?\b|喜欢|爱|好[吃喝]|迷",
    ),
    _kind(
        r"\beat|\bfood\b|\bdish|\bmeal|\bbreakfast|\blunch|\bdinner|\bsnack|\bcook|吃|菜|食",
        r"\beat|\bfood\b|\bdish|\bcook|\bbake|\badore|\bsnack|\bsoup|吃|菜|食|饭|面|糕",
    ),
    _kind(
        r"\bdrink|\bthirst|\btea\b|\bcoffee\b|喝|饮",
        r"\bdrink|\btea\b|\bcoffee\b|\bwine\b|\bbeer\b|\bale\b|\brum\b|\bcider\b|喝|酒|茶|咖啡|汽水",
    ),
    _kind(
        r"\bwish|\bdream|\bhope|\bgoal\b|\bambition|\bone day\b|\bgrow up\b"
        r"|\byou(?:'d| would)? (?:really |most )?(?:want|love to)\b|愿望|梦想|希望|心愿|理想|最想|以后",
        r"\bwish|\bdream|\bhopes?\b|\bwants?\b|\blongs?\b|\bgoal\b|\bsav\w+ (?:up|money)\b|愿望|梦想|希望|心愿|[想盼]",
        reliable=True,
    ),
    _kind(
        r"\bhow do you (?:speak|talk|sound)\b|\bvoice\b|\baccent\b|说话|口音|语气|口头禅",
        r"\bspeak|\btalk|\bvoice|\bsay|\btone|说|话|口头禅",
        "speaking_style",
    ),
    _kind(
        r"\b(?:you|to) call (?!ed\b)\w+|\baddress\b|称呼|叫(?:我|人|别人|客人|大家)|管.{1,6}叫",
        r"\bcall(?:s|ing)?\b|\baddress|称|叫|喊|管",
        "speaking_style",
    ),
    _kind(
        r"\b(?:kind|sort) of person\b|\bare you like\b|\b(?:describe|about) yourself\b|\bpersonality\b|\bcharacter\b"
        r"|\btemper|(?:什么|怎么?)样的人|性格|脾气|为人",
        r".",
        "personality",
    ),
    _kind(r"\bpets?\b|\banimals?\b|宠物|动物|养了?什么", rf"{ANIMAL}|\bpet\b|宠物|养了", "relations", reliable=True),
    _kind(r"\bfamily\b|\bsiblings?\b|\brelatives?\b|家人|家里|亲人", KIN, "relations", reliable=True),
    _kind(
        r"\benem|\brival|\bnemesis\b|\bfoe\b|\bcompet|对头|敌|仇|对手|过不去|不对付",
        r"\benem|\brival|\bnemesis\b|\bfoe|对头|敌|仇|对手|斗|为难|不和",
        reliable=True,
    ),
    _kind(
        r"\btaught\b|\bteach|\bmentor|\bmaster\b|师父|师傅|老师|谁教|教你|拜谁|跟谁学",
        r"\btaught\b|\bteach|\bmentor|\bmaster\b|\blearn\w* .*from\b|\bcoach(?:ed)? (?:him|her)|师|教|拜|跟.{1,6}学",
        reliable=True,
    ),
    _kind(
        r"\bwork for\b|\bboss\b|\bmanager\b|\bemploy|\borders\b|\bsuperior\b|\bcommander\b|\byou serve\b"
        r"|老板|东家|上司|领导|主子",
        r"\bworks? for\b|\bboss\b|\bmanager\b|\bcommander\b|\bemployer\b|\bchief\b|\bsuperior\b|\bserves?\b"
        r"|老板|东家|上司|领导|主人|主子",
        reliable=True,
    ),
    _kind(
        r"\bfriends?\b|\bclose(?:st)? to\b|\bmates?\b|朋友|好友|伙伴|要好",
        r"\bfriends?\b|\bmate\b|\bpal\b|\bcompanion|朋友|好友|友|伙伴",
        reliable=True,
    ),
    _kind(
        r"\bbefore\b|\bused to\b|\bformer|以前|之前|从前|过去",
        r"\bbefore\b|\bused to\b|\bformer|\bonce\b|\bwas an?\b|\bspent\b|\bworked\b|以前|之前|早年|曾|原|当过|做过",
        reliable=True,
    ),
)


def kinds_of(question: str) -> list[QuestionKind]:
    """The kinds that a question belongs to, if any."""
    return [kind for kind in KINDS if kind.question.search(question)]
