"""The words by which the rules of extraction know what a sentence is about. Data only."""

from __future__ import annotations

import re


def words(text: str) -> str:
    """A regular expression for whole words; `~` at the end of one allows any ending."""
    parts = [re.escape(word).replace(r"\~", r"\w*").replace(r"\ ", r"[\s-]+") for word in text.split("|")]
    return rf"\b(?:{'|'.join(parts)})(?!\w)"


SYMPTOM = words(
    "pain~|ache~|aching|hurt~|sore~|stomachache|headache~|backache|toothache|migraine~|fever~|feverish|chill~|sweat~"
    "|cough~|sneez~|phlegm|mucus|sputum|wheez~|short of breath|shortness of breath|breathless~|trouble breathing"
    "|difficulty breathing|runny nose|stuffy nose|congest~|sore throat|hoarse~|nausea|nauseous|vomit~|throwing up"
    "|threw up|diarrhea|diarrhoea|constipat~|bloat~|heartburn|indigestion|blood in~|bleed~|bruis~|rash~|itch~|hives"
    "|swell~|swollen|stiff~|numb~|tingl~|weakness|weak|dizz~|lightheaded|faint~|passed out|blackout~|palpitation~"
    "|tired~|fatigue~|exhausted|insomnia|sleepless~|weight loss|lost weight|gained weight|weight gain|appetite"
    "|blurr~|double vision|ringing|discharge|burning|cramp~|spasm~|seizure~|tremor~|shaking|anxious|anxiety|panic~"
    "|sad|hopeless|lump~|sprain~|injur~|limping|thirsty|urinat~|pee|suicidal|dizzy spell~|sick to my stomach|tightness"
    "|harming yourself|hurting yourself|hurt yourself"
)
HARM = words("rash~|itch~|hives|swell~|sick|throw up|vomit~|breathless")
"""What somebody gets from a medicine they do not tolerate."""
CONDITION = words(
    "high blood pressure|hypertension|diabet~|asthma~|copd|emphysema|bronchitis|arthriti~|osteoarthriti~|osteoporosis"
    "|gout|cancer~|tumor~|tumour~|leukemia|lymphoma|heart disease|heart failure|heart attack~|heart trouble|stroke~"
    "|angina|atrial fibrillation|high cholesterol|hyperlipidemia|kidney disease|kidney failure|kidney stone~|liver "
    "disease|hepatitis|cirrhosis|thyroid~|hypothyroid~|epilepsy|migraines|depression|bipolar|schizophrenia|dementia"
    "|alzheimer~|parkinson~|pneumonia|tuberculosis|hiv|infection~|sinusitis|tonsillitis|appendicitis|gastritis|reflux"
    "|ulcer~|hernia~|anemia|anaemia|eczema|psoriasis|fracture~|broken|concussion|flu|influenza|covid|virus|viral~"
    "|tendonitis|sciatica|blood clot~|embolism|thrombosis|glaucoma|cataract~|lupus|multiple sclerosis|allergic rhinitis"
)
SURGERY = words("surger~|operation~|operated|removed|transplant~|bypass|hospitali~|hospital|appendectomy")
DRUG = words(
    "medication~|medicine~|tablet~|pill~|capsule~|inhaler~|insulin|aspirin|ibuprofen|advil|motrin|tylenol|paracetamol"
    "|acetaminophen|naproxen|aleve|metformin|lisinopril|amlodipine|losartan|metoprolol|atenolol|propranolol|atorvastatin"
    "|simvastatin|statin~|warfarin|eliquis|apixaban|clopidogrel|plavix|omeprazole|pantoprazole|levothyroxine|synthroid"
    "|prednisone|prednisolone|steroid~|antibiotic~|amoxicillin|penicillin|azithromycin|doxycycline|ciprofloxacin"
    "|sertraline|zoloft|prozac|fluoxetine|citalopram|lexapro|gabapentin|albuterol|salbutamol|ventolin|furosemide|lasix"
    "|hydrochlorothiazide|birth control|contraceptive~|vitamin~|supplement~|antidepressant~|painkiller~|antihistamine~"
    "|claritin|zyrtec|benadryl|cream|ointment|eye drops|nitroglycerin|codeine|morphine|oxycodone|tramadol|milligram~|mg"
)
RELATIVE = words(
    "mother~|mom|mum|father~|dad|brother~|sister~|sibling~|grandmother~|grandfather~|grandparent~|grandma|grandpa|aunt~"
    "|uncle~|cousin~|parents|son~|daughter~|family"
)
HABIT = words(
    "smok~|cigarette~|cigar~|tobacco|vap~|alcohol~|beer~|wine|whiskey|vodka|drinking|drink|drinker|cocaine|marijuana"
    "|cannabis|heroin|recreational drugs|street drugs|illegal drugs|sober"
)
LIVING = (
    words("live alone|live with|lives with|retired|unemployed|married|divorced|widow~|work as|work in|work at")
    + r"|\bmy (?:job|work) is\b|\bI(?:'m| am) an? (?:\w+ ){0,2}(?:teacher|nurse|driver|student|farmer|builder|cook)\b"
)
BODY = words(
    "lung~|heart|heart sounds|abdomen|belly|stomach|throat|tonsil~|chest|ear~|eardrum~|eye~|pupil~|neck|lymph nodes"
    "|gland~|skin|knee~|ankle~|hip~|shoulder~|elbow~|wrist~|hand~|foot|feet|leg~|arm~|back|spine|reflexes|liver|spleen"
    "|breath sounds|breathing|nose|mouth|joint~|wound"
)
NORMAL = words("normal|clear|fine|healthy|soft|regular|good|unremarkable|intact|equal|no tenderness|non-tender")
ABNORMAL = words(
    "swollen|swelling|tender|tenderness|red|redness|inflamed|warm|crackle~|wheez~|murmur~|enlarged|rash|irregular"
    "|distended|stiff|reduced|limited|decreased|infected|fluid|bruised|lump|bulging"
)
EXAMINED = words("eardrum~|tonsils|pupils|lymph nodes|breath sounds|bowel sounds|abdomen")
"""Parts of the body that hardly anybody but a clinician names."""
NUMBER = (
    r"(?:\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    r"|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred)\b)"
)
VITAL = words(
    "blood pressure|temperature|pulse|heart rate|oxygen saturation|saturation|oxygen level|respiratory rate|weight|bmi"
    "|body mass index"
)
LAB = words(
    "blood test~|blood work|lab~|hemoglobin|haemoglobin|a1c|cholesterol|glucose|blood sugar|white count|white blood "
    "cell~|creatinine|potassium|sodium|urine test|urinalysis|liver function|kidney function|thyroid test|crp|platelet~"
)
IMAGE = words("x ray~|xray~|ct|ct scan|cat scan|mri|ultrasound|scan~|echocardiogram|mammogram|radiograph~")
RESULT = words("is|are|was|were|show~|came back|come back|reveal~|look~|indicate~|confirm~")
ACTIVITY = words(
    "walk~|climb~|stairs|dress~|wash~|shower~|bath~|stand~|stand up|lift~|bend~|kneel~|run|drive|cook|work|sleep"
    "|get out of bed|use my~|move my~|feed myself"
)
TREATMENT = words(
    "order~|prescri~|start~|refer~|schedule~|arrange~|send|increase~|reduce~|lower|stop|take|come back|return|follow up"
    "|follow-up|book|check|get|run|repeat|rest|ice|avoid|physiotherapy|physical therapy|see you|admit|switch|continue"
    "|call|give|put|try|use|make|do|need|x ray~|blood test~|ecg|ekg"
)
"""What a plan does."""
ADVICE = words("take|put|stop|continue|drink|come back|keep|use|avoid|apply|rest|increase|reduce")
FREQUENCY = words(
    "twice a day|once a day|times a day|every day|every morning|every evening|every night|every ~ hours|for now"
    "|in a week|in a month|in ~ weeks|in ~ months|for a week|for ~ days|for ~ weeks|for ~ months"
)
"""How often and how long, as advice has it."""
