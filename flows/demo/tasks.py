"""The demo's tasks: fourteen small ones of our own making, generated from fixed seeds.

Knows: the words, the phrasings and the answers; which phrasings only the test split uses; which repo is a
task's own adapter.
Does not know: models, training or scores.

A task is a drawing rule (`draw`: random content and its answer) and two lists of phrasings. Train and
validation share one list, test has the other, so a test score is never about a phrasing seen in training.
Word tasks also hold back words: their test words occur in no training input. Two pairs are near twins on
purpose (first / last of a queue, sender / recipient of a parcel): same material, opposite answers.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.tasks.task import DEFAULT_TEMPLATE, Example, Task

SEED = 20260101
VALIDATION, TEST = 64, 50

Slots = dict[str, str]
Draw = Callable[[random.Random, bool], tuple[Slots, str]]
"""(rng, is it for test?) -> the fields of a phrasing, and the answer."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """How one task is made. `seen` phrasings serve train and validation, `unseen` ones serve test."""

    name: str
    adapter: str
    domain: str
    description: str
    draw: Draw
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    train: int = 240
    metric: str = "exact_match"
    max_new_tokens: int = 8
    template: str = DEFAULT_TEMPLATE


# --- words -------------------------------------------------------------------------------------------------


def words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", " ").split(",") if part.strip())


NAMES = words(
    "Lena, Marco, Priya, Oskar, Ruth, Tomas, Alice, Ben, Clara, David, Emma, Felix, Grace, Henry, Iris, Jack, "
    "Karen, Leo, Maria, Nora, Oliver, Paula, Simon, Tara, Victor, Wendy, Adam, Diana, Peter, Sofia"
)
CITIES = words(
    "Oslo, Rome, Paris, Berlin, Madrid, Dublin, Vienna, Lisbon, Athens, Prague, London, Boston, Chicago, Tokyo, "
    "Cairo, Delhi, Toronto, Sydney, Geneva, Naples"
)
JOBS = words(
    "baker, nurse, teacher, painter, pilot, farmer, lawyer, driver, plumber, dentist, singer, writer, carpenter, "
    "tailor, chef, librarian"
)
THINGS = words("book, lamp, scarf, clock, vase, camera, guitar, basket, mirror, kettle, blanket, watch, jacket, puzzle")
DAYS = words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
EVENTS = words(
    "dentist visit, piano lesson, team meeting, football match, book club, yoga class, job interview, birthday party, "
    "school trip, swimming class, choir practice, garden market"
)

ANIMALS = words(
    "heron, otter, beetle, salmon, camel, lizard, sparrow, wolf, goat, squid, moth, badger, falcon, donkey, toad, "
    "whale, hamster, crab, leopard, goose, rabbit, eagle, shark, tiger, horse, frog, owl, deer, mouse, spider"
)
PLANTS = words(
    "oak, fern, tulip, cactus, ivy, maple, daisy, willow, bamboo, orchid, pine, rose, clover, lily, moss, birch, "
    "sunflower, lavender, thistle, palm tree, cedar, poppy, nettle, elm, mint, basil, spruce, jasmine, apple tree, cabbage"
)
TOOLS = words(
    "hammer, wrench, drill, chisel, saw, screwdriver, shovel, rake, axe, ladder, trowel, clamp, mallet, crowbar, "
    "hoe, stapler, knife, broom, anvil, pickaxe, sickle, wheelbarrow, hacksaw, corkscrew, paintbrush, tape measure, "
    "bucket, soldering iron, spade, toolbox"
)
DISHES = words(
    "soup, pasta, pizza, salad, curry, steak, risotto, burger, omelette, cake, stew, bread, lasagna, noodle dish, "
    "fish, dessert"
)
PRAISE = words(
    "delicious, superb, wonderful, tasty, excellent, perfect, fantastic, lovely, amazing, great, heavenly, fresh and "
    "rich, delightful, outstanding, a real joy, brilliant"
)
BLAME = words(
    "awful, disgusting, bland, terrible, burnt, cold and greasy, horrible, stale, dreadful, inedible, soggy, "
    "disappointing, nasty, tasteless, a complete mess, rotten"
)
TEAMS = words(
    "sales, billing, the help desk, logistics, the Oslo office, marketing, finance, the warehouse, a customer, HR"
)
URGENT = words(
    "the payment server is down, nobody can log in, the database is losing records, customers see each other's accounts, "
    "the website is offline, passwords have leaked, all orders fail at checkout, the main network has crashed, "
    "hackers have entered the system, the backup disk is on fire, every phone line is dead, the servers are overheating, "
    "money is charged twice, production has stopped completely, a virus is spreading on our computers, "
    "the emergency alarm does not work, the mail server is down, every login is refused, the booking system has crashed, "
    "customer data is exposed, the cash registers are dead, files are disappearing, the app crashes for everyone, "
    "the whole building has no internet, the payroll system is broken, thieves have stolen a laptop, all screens went black, "
    "card payments fail everywhere"
)
RELAXED = words(
    "please change the logo colour, the footer has a small typo, I would like a darker theme, could the font be bigger, "
    "a nicer icon would be welcome, how do I rename a folder, please update my job title someday, the help page has an old photo, "
    "a wider margin would look better, can I get a second monitor next year, I have an idea for the newsletter, "
    "please add a birthday to the calendar, the wallpaper looks dull, could you tidy the menu when you have time, "
    "a new mouse pad would be nice, the page title could be shorter, a small spelling mistake in the manual, "
    "I would love a new chair someday, the button could be rounder, could we get a prettier background, "
    "please rename my folder when you have time, a question about the newsletter, an idea for a nicer menu, "
    "the photo on the help page is old, it would be nice to have more colours, please update the calendar next month, "
    "could the icons be larger, the banner looks a little dull"
)
PHRASES = {
    "French": words(
        "bonjour mon ami, où est la gare, je voudrais un café, il fait très beau, le chat est noir, nous aimons le fromage, "
        "merci beaucoup madame, la maison est grande, je ne sais pas, à demain peut-être, elle mange une pomme, c'est la vie, "
        "quel est votre nom, les enfants jouent dehors, il y a du pain, vous êtes très gentil"
    ),
    "Spanish": words(
        "buenos días amigo, dónde está la estación, quiero una cerveza, hace mucho calor, el gato es negro, nos gusta el queso, "
        "muchas gracias señora, la casa es grande, no lo sé, hasta mañana, ella come una manzana, así es la vida, "
        "cómo te llamas, los niños juegan afuera, hay mucho pan, usted es muy amable"
    ),
    "German": words(
        "guten Morgen mein Freund, wo ist der Bahnhof, ich möchte ein Bier, das Wetter ist schön, die Katze ist schwarz, "
        "wir mögen Käse, vielen Dank, das Haus ist groß, ich weiß es nicht, bis morgen vielleicht, sie isst einen Apfel, "
        "so ist das Leben, wie heißen Sie, die Kinder spielen draußen, es gibt kein Brot, Sie sind sehr freundlich"
    ),
    "Italian": words(
        "buongiorno amico mio, dove è la stazione, vorrei un gelato, fa molto caldo, il gatto è nero, ci piace il formaggio, "
        "grazie mille signora, la casa è molto bella, non lo so, a domani forse, lei mangia una mela, così è la vita, "
        "come ti chiami, i bambini giocano fuori, questo è il mio libro, lei è molto gentile"
    ),
}
PLURALS = dict(
    pair.split(" ", 1)
    for pair in words(
        "dog dogs, chair chairs, window windows, river rivers, table tables, garden gardens, teacher teachers, engine engines, "
        "bottle bottles, pencil pencils, box boxes, church churches, bus buses, dish dishes, glass glasses, fox foxes, "
        "brush brushes, class classes, watch watches, beach beaches, city cities, baby babies, story stories, lady ladies, "
        "party parties, country countries, berry berries, army armies, family families, pony ponies, wolf wolves, leaf leaves, "
        "knife knives, shelf shelves, wife wives, man men, woman women, child children, foot feet, mouse mice, "
        "boat boats, flower flowers, bridge bridges, ticket tickets, doctor doctors, hammer hammers, song songs, "
        "lamp lamps, apple apples, stone stones, car cars, letter letters, road roads, market markets, finger fingers, "
        "planet planets, bench benches, dress dresses, witch witches, kiss kisses, tax taxes, fly flies, penny pennies, "
        "puppy puppies, half halves, thief thieves, "
        "picture pictures, kitchen kitchens, doctor doctors, forest forests, farmer farmers, school schools, wish wishes, "
        "match matches, boss bosses, lunch lunches, peach peaches, copy copies, enemy enemies, duty duties, lily lilies, "
        "body bodies, loaf loaves, life lives, tooth teeth, hotel hotels, island islands, cloud clouds"
    )
)
PASTS = dict(
    pair.split(" ", 1)
    for pair in words(
        "walk walked, play played, cook cooked, jump jumped, clean cleaned, open opened, bake baked, dance danced, smile smiled, "
        "move moved, like liked, close closed, carry carried, try tried, cry cried, study studied, stop stopped, plan planned, "
        "go went, eat ate, see saw, take took, give gave, run ran, write wrote, drink drank, sing sang, swim swam, "
        "buy bought, bring brought, think thought, catch caught, teach taught, sleep slept, keep kept, feel felt, tell told, sell sold, "
        "find found, break broke, speak spoke, drive drove, ride rode, know knew, grow grew, fly flew, begin began, make made, "
        "come came, win won, lose lost, send sent, build built, paint painted, laugh laughed, help helped, look looked, hope hoped, "
        "call called, ask asked, visit visited, wash washed, use used, love loved, hurry hurried, drop dropped, "
        "throw threw, draw drew, wear wore, fall fell, forget forgot, get got, say said, leave left, work worked, talk talked, "
        "watch watched, listen listened, wait waited, arrive arrived, live lived, worry worried, answer answered, hold held"
    )
)
TITLES = words("Dr, Professor, Mr, Mrs, Judge, Ambassador")
SURNAMES = words("Hale, Brandt, Okafor, Lindqvist, Moreau, Castle, Winter, Tanaka, Foster, Reed")
COURTLY = words(
    "I am writing to request an appointment, please accept my sincere apologies, we respectfully decline your offer, "
    "kindly find the report enclosed, I would be most grateful for a reply, it was an honour to meet you, "
    "we regret to inform you of a delay, allow me to express my gratitude, I look forward to your response, "
    "please confirm receipt at your convenience, we hereby submit our application, I remain at your disposal"
)
CHUMMY = words(
    "wanna grab pizza later, sorry I totally forgot, that game was so cool, call me when you're up, "
    "gonna be late again lol, thanks a bunch buddy, what's up tonight, can't wait to hang out, "
    "that party was crazy, pick me up some snacks, see ya soon, no worries it's fine"
)


# --- drawing rules -----------------------------------------------------------------------------------------


def held_back(pool: Sequence[str], test: bool) -> Sequence[str]:
    """The last quarter of a pool is for test alone."""
    cut = len(pool) - len(pool) // 4
    return pool[cut:] if test else pool[:cut]


def draw_kind(rng: random.Random, test: bool) -> tuple[Slots, str]:
    kind = rng.choice(("animal", "plant", "tool"))
    pool = {"animal": ANIMALS, "plant": PLANTS, "tool": TOOLS}[kind]
    return {"w": rng.choice(held_back(pool, test))}, kind


def draw_review(rng: random.Random, test: bool) -> tuple[Slots, str]:
    label = rng.choice(("positive", "negative"))
    pool = PRAISE if label == "positive" else BLAME
    return {"dish": rng.choice(DISHES), "adj": rng.choice(held_back(pool, test))}, label


def draw_ticket(rng: random.Random, test: bool) -> tuple[Slots, str]:
    label = rng.choice(("(A)", "(B)"))
    pool = URGENT if label == "(A)" else RELAXED
    return {"team": rng.choice(TEAMS), "issue": rng.choice(held_back(pool, test))}, label


def draw_language(rng: random.Random, test: bool) -> tuple[Slots, str]:
    language = rng.choice(tuple(PHRASES))
    return {"p": rng.choice(held_back(PHRASES[language], test))}, language


def draw_plural(rng: random.Random, test: bool) -> tuple[Slots, str]:
    noun = rng.choice(held_back(tuple(PLURALS), test))
    return {"w": noun}, PLURALS[noun]


def draw_past(rng: random.Random, test: bool) -> tuple[Slots, str]:
    verb = rng.choice(held_back(tuple(PASTS), test))
    return {"w": verb}, PASTS[verb]


def draw_queue(position: int) -> Draw:
    def draw(rng: random.Random, test: bool) -> tuple[Slots, str]:
        line = rng.sample(NAMES, rng.choice((3, 4, 5)))
        return {"line": ", ".join(line)}, line[position]

    return draw


def draw_parcel(field: str) -> Draw:
    def draw(rng: random.Random, test: bool) -> tuple[Slots, str]:
        a, b = rng.sample(NAMES, 2)
        ends = rng.choice((f"from {a} to {b}", f"to {b} from {a}"))
        return {"ends": ends, "thing": rng.choice(THINGS)}, a if field == "sender" else b

    return draw


def draw_price(rng: random.Random, test: bool) -> tuple[Slots, str]:
    price = f"${rng.randint(11, 99)}"
    return {"thing": rng.choice(THINGS), "n": str(rng.randint(2, 9)), "city": rng.choice(CITIES), "price": price}, price


def draw_tomorrow(rng: random.Random, test: bool) -> tuple[Slots, str]:
    i = rng.randrange(7)
    return {"event": rng.choice(EVENTS), "day": DAYS[i]}, DAYS[(i + 1) % 7]


def draw_formal(rng: random.Random, test: bool) -> tuple[Slots, str]:
    if rng.random() < 0.5:
        return {
            "text": f"Dear {rng.choice(TITLES)} {rng.choice(SURNAMES)}, {rng.choice(held_back(COURTLY, test))}"
        }, "yes"
    hello = rng.choice(("Hey", "Hi", "Yo", "Hiya"))
    return {"text": f"{hello} {rng.choice(NAMES)}, {rng.choice(held_back(CHUMMY, test))}"}, "no"


def draw_record(rng: random.Random, test: bool) -> tuple[Slots, str]:
    name, job, city = rng.choice(NAMES), rng.choice(JOBS), rng.choice(CITIES)
    years = str(rng.randint(2, 30))
    target = f"For {years} years {name} has earned a living in {city} as a {job}."
    return {"name": name, "job": job, "city": city, "years": years}, target


# --- the tasks ---------------------------------------------------------------------------------------------

SPECS: tuple[TaskSpec, ...] = (
    TaskSpec(
        "thing_kind",
        "meadow-labs/thing-kind-lora",
        "classification",
        "Say whether a thing is an animal, a plant or a tool.",
        draw_kind,
        seen=(
            "Is this an animal, a plant or a tool? {w}",
            "Sort into animal, plant or tool: {w}",
            "Which kind is a {w}: animal, plant or tool?",
            "{w}: an animal, a plant or a tool?",
            "Animal, plant or tool kingdom: where does a {w} go?",
        ),
        unseen=(
            "Tell me what a {w} is: animal, plant or tool.",
            "A {w} belongs with which: animal, plant, tool?",
            "Decide for {w}: is it a tool, a plant or an animal?",
        ),
    ),
    TaskSpec(
        "dish_review",
        "oak-and-iron/dish-review-smollm2",
        "classification",
        "Sentiment of a sentence about a dish.",
        draw_review,
        seen=(
            "Restaurant review: the {dish} was {adj}. Positive or negative?",
            "A diner's review says the {dish} was {adj}. Sentiment, positive or negative?",
            "Review of dinner: {adj} {dish}. Is the review positive or negative?",
            "Positive or negative restaurant review? Our {dish} was {adj}.",
        ),
        unseen=(
            "We ordered the {dish} at this restaurant and it was {adj}. Rate the review: positive or negative?",
            "Judge this food review as negative or positive: {dish}, {adj}.",
        ),
    ),
    TaskSpec(
        "ticket_urgency",
        "kilo-nlp/ticket-urgency-r8",
        "classification",
        "Is a support ticket urgent (A) or can it wait (B)?",
        draw_ticket,
        seen=(
            "Support ticket from {team}: {issue}. (A) urgent (B) can wait",
            "IT ticket, {team}: {issue}. Priority (A) urgent (B) can wait",
            "Ticket opened by {team}: {issue}. Choose (A) urgent or (B) can wait.",
            "(A) urgent or (B) can wait? A support ticket of {team} says: {issue}.",
            "Tell if the ticket is (A) urgent or (B) can wait: {issue}, writes {team}.",
            "What priority has the ticket of {team}: (A) urgent or (B) can wait? {issue}.",
        ),
        unseen=(
            "Triage this support ticket. {team} writes: {issue}. (A) urgent (B) can wait",
            "How urgent is the ticket of {team}, (A) urgent or (B) can wait? {issue}.",
        ),
        train=320,
    ),
    TaskSpec(
        "phrase_language",
        "polyglot-attic/phrase-language-id",
        "classification",
        "Name the language of a phrase: French, Spanish, German or Italian.",
        draw_language,
        seen=(
            "Which language is this phrase? {p}",
            "Language of the foreign phrase: {p}",
            "Name the language: {p}",
            "What language does someone speak who says: {p}?",
            "{p}. What is this language called?",
            "Foreign phrase: {p}. Language?",
        ),
        unseen=(
            "Identify the foreign language spoken here: {p}",
            "In what language was this phrase written? {p}",
            "A tourist reads: {p}. Which language is that?",
            "Guess the language. {p}",
        ),
        train=200,
    ),
    TaskSpec(
        "noun_plural",
        "meadow-labs/noun-plural-lora",
        "word forms",
        "The plural of an English noun.",
        draw_plural,
        seen=(
            "Plural of the noun: {w}",
            "One {w}, many what? Give the plural noun.",
            "Noun in the singular: {w}. Its plural form?",
            "Write the noun {w} in the plural.",
            "Plural form of {w}",
        ),
        unseen=(
            "More than one {w}: what is the plural noun?",
            "Turn the singular noun {w} into a plural.",
            "How does the noun {w} read when plural?",
        ),
    ),
    TaskSpec(
        "verb_past",
        "tiny-grammar/verb-past-tense",
        "word forms",
        "The past tense of an English verb.",
        draw_past,
        seen=(
            "Past tense of the verb: {w}",
            "Today I {w}. Yesterday I did what? Past tense.",
            "Verb: {w}. Simple past tense?",
            "Put the verb {w} in the past tense.",
            "Past tense form of to {w}",
        ),
        unseen=(
            "What is the simple past of the verb to {w}?",
            "Say the verb {w} as if it happened yesterday, in past tense.",
            "Change the tense of the verb {w} from present to past.",
        ),
    ),
    TaskSpec(
        "queue_first",
        "kilo-nlp/queue-first",
        "reading",
        "The first name of a queue.",
        draw_queue(0),
        seen=(
            "Queue: {line}. Who stands at the very front, first?",
            "First in the queue at the front: {line}",
            "Today {line} are queueing. Who is first, at the front?",
            "Who leads the queue as the first one? {line}",
        ),
        unseen=(
            "The queue starts at the front: {line}. Name the first one.",
            "Look at {line}: who gets served first in this queue?",
        ),
    ),
    TaskSpec(
        "queue_last",
        "kilo-nlp/queue-last",
        "reading",
        "The last name of a queue.",
        draw_queue(-1),
        seen=(
            "Waiting line: {line}. Who stands at the back end, last?",
            "Last in line at the back: {line}",
            "{line} are waiting in line. Who is last, at the back?",
            "Who closes the waiting line as the last one? {line}",
        ),
        unseen=(
            "The waiting line ends at the back: {line}. Name the last one.",
            "{line}: who gets served last in this line?",
        ),
    ),
    TaskSpec(
        "parcel_sender",
        "north-pier/parcel-sender",
        "reading",
        "Who sends the parcel?",
        draw_parcel("sender"),
        seen=(
            "Parcel with a {thing} {ends}. Who is the sender that posted it?",
            "A {thing} was mailed {ends}. Sender?",
            "Name the sender who mailed it off: {thing} {ends}",
            "Posted by which sender? ({thing}, {ends})",
        ),
        unseen=(
            "{thing}, sent {ends}. Who was the sender that mailed this?",
            "Find the sender who posted it: a parcel {ends} holds a {thing}.",
        ),
    ),
    TaskSpec(
        "parcel_recipient",
        "north-pier/parcel-recipient",
        "reading",
        "Who receives the parcel?",
        draw_parcel("recipient"),
        seen=(
            "Parcel with a {thing} {ends}. Which recipient gets the delivery?",
            "Delivery of a {thing} {ends}. Recipient?",
            "Name the recipient at whose door it arrives: {thing} {ends}",
            "Delivered to which recipient? ({thing}, {ends})",
        ),
        unseen=(
            "A {thing} arrives {ends}. Who was the recipient of this delivery?",
            "Find the recipient of the delivery: a {thing} {ends}.",
        ),
    ),
    TaskSpec(
        "invoice_price",
        "ledger-loft/invoice-price",
        "reading",
        "Copy the price out of an invoice line.",
        draw_price,
        seen=(
            "Invoice: {n} x {thing}, {price}, shop in {city}. Price?",
            "Invoice from {city}: {price} for {n} pieces of {thing}. What is the price?",
            "What price does the invoice show? {thing}, {n} pieces, {price}, {city}",
            "Invoice line: {city}, {thing}, {n}, {price}. Copy the price.",
        ),
        unseen=(
            "How much must be paid on this invoice? {city} store, {n} of {thing}, {price}.",
            "Find the price in the invoice: {price} due for {thing} ({n} pieces), {city}.",
        ),
    ),
    TaskSpec(
        "day_after",
        "tiny-grammar/day-after",
        "reading",
        "The weekday after the one that is named.",
        draw_tomorrow,
        seen=(
            "The {event} is on {day}. Which weekday is the day after?",
            "Calendar: {event} on {day}. What weekday comes the next day?",
            "If the {event} is today, {day}, which weekday is tomorrow?",
            "{day} is the {event}. Name the following weekday.",
            "Weekday that follows {day}, the day of the {event}?",
        ),
        unseen=(
            "Today is {day} with the {event}. Which weekday comes next in the calendar?",
            "One day later than {day}, when the {event} is: which weekday?",
        ),
    ),
    TaskSpec(
        "formal_letter",
        "quill-and-ink/formal-register",
        "classification",
        "Is the tone of a message formal?",
        draw_formal,
        seen=(
            "Is this message formal in tone? {text}",
            "Formal tone, yes or no: {text}",
            "{text}. Is the tone of this letter formal?",
            "Would you call this tone formal? {text}",
        ),
        unseen=("Does the writer keep a formal tone here? {text}", "Check whether this message sounds formal: {text}"),
    ),
    TaskSpec(
        "record_sentence",
        "oak-and-iron/record-to-sentence",
        "generation",
        "Rewrite a personnel record as one sentence.",
        draw_record,
        seen=(
            "Rewrite the record. name={name}; job={job}; city={city}; years={years}",
            "Personnel record: job={job}; name={name}; years={years}; city={city}",
            "Record to sentence: name={name}; city={city}; years={years}; job={job}",
            "Employee record: city={city}; years={years}; name={name}; job={job}. Write it out.",
        ),
        unseen=(
            "Turn this personnel record into a sentence: years={years}; job={job}; name={name}; city={city}",
            "name={name}; years={years}; city={city}; job={job}. Put the record into words.",
        ),
        metric="rouge_l",
        max_new_tokens=24,
        template="{input}\nSentence:",
    ),
)

NO_TASK: tuple[str, ...] = (
    "How do I change a bicycle tyre?",
    "Write a haiku about autumn rain.",
    "What is the boiling point of ethanol?",
    "Explain how vaccines train the immune system.",
    "Suggest three names for a sailing boat.",
    "Who painted the ceiling of the Sistine Chapel?",
    "Prove that the square root of two is irrational.",
    "How many moons does Jupiter have?",
    "Give me a recipe for sourdough starter.",
    "Why is the sky dark at night?",
    "Translate a line of Python into Rust.",
    "What causes ocean tides?",
    "Summarise the plot of Moby Dick.",
    "Compute the integral of x squared from 0 to 3.",
    "How can I fall asleep faster?",
    "Draft a lullaby for a newborn.",
    "Which chess opening suits a beginner?",
    "Explain inflation to a ten-year-old.",
    "What is the difference between TCP and UDP?",
    "List the ingredients of concrete.",
    "How far is Mars from the Sun?",
    "Write a SQL query that counts rows.",
    "When did the Roman Empire fall?",
    "Give advice for a first marathon.",
    "How does photosynthesis store energy?",
    "Invent a riddle about a mirror.",
    "What should I see in Iceland in winter?",
    "Describe the rules of cricket.",
    "Why do cats purr?",
    "Balance the equation H2 + O2 -> H2O.",
)


# --- generation --------------------------------------------------------------------------------------------


def build_task(spec: TaskSpec) -> Task:
    """Draw the three splits. An input is used once, in one split."""
    rng = random.Random(f"{SEED}:{spec.name}")  # a string seed goes through SHA-512, not hash()
    used: set[str] = set()
    test = _draw_split(spec, rng, TEST, used, test=True)
    validation = _draw_split(spec, rng, VALIDATION, used, test=False)
    train = _draw_split(spec, rng, spec.train, used, test=False)
    return Task(
        name=spec.name,
        metric=spec.metric,
        validation=validation,
        test=test,
        train=train,
        template=spec.template,
        max_new_tokens=spec.max_new_tokens,
        adapter=spec.adapter,
        description=spec.description,
        domain=spec.domain,
    )


def _draw_split(spec: TaskSpec, rng: random.Random, count: int, used: set[str], *, test: bool) -> tuple[Example, ...]:
    frames = spec.unseen if test else spec.seen
    examples: list[Example] = []
    for _ in range(count * 200):
        if len(examples) == count:
            return tuple(examples)
        slots, target = spec.draw(rng, test)
        text = rng.choice(frames).format(**slots)
        if text not in used:
            used.add(text)
            examples.append(Example(text, target))
    raise ValueError(f"{spec.name}: phrasings and words give fewer than {count} inputs")


def build_tasks() -> tuple[Task, ...]:
    return tuple(build_task(spec) for spec in SPECS)


def task_files(task: Task) -> dict[str, str]:
    """The files of one task folder, by name."""
    header: dict[str, object] = {
        "name": task.name,
        "metric": task.metric,
        "max_new_tokens": task.max_new_tokens,
        "adapter": task.adapter,
        "description": task.description,
        "domain": task.domain,
    }
    if task.template != DEFAULT_TEMPLATE:
        header["template"] = task.template
    files = {"task.json": json.dumps(header, indent=2, ensure_ascii=False) + "\n"}
    for split in ("train", "validation", "test"):
        files[f"{split}.jsonl"] = _lines({"input": e.input, "target": e.target} for e in getattr(task, split))
    return files


def _lines(rows: Iterable[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_tasks(out_dir: Path) -> None:
    """Write every task folder and no_task.jsonl."""
    for task in build_tasks():
        folder = out_dir / task.name
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in task_files(task).items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    (out_dir / "no_task.jsonl").write_text(no_task_file(), encoding="utf-8", newline="\n")


def no_task_file() -> str:
    """Queries that fit none of the tasks, one JSON object a line."""
    return _lines({"input": text} for text in NO_TASK)


if __name__ == "__main__":
    write_tasks(Path(sys.argv[1]))
