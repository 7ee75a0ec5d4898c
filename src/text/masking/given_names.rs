//! Given names of Russian and English speakers, in all Russian cases.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::text::letters::is_cyrillic;

/// How far a given name proves that a person is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenName {
    /// A name and nothing else.
    Certain,
    /// Also a common word (`вера`, `роман`, `grace`): a name only with a capital letter.
    AlsoWord,
}

#[rustfmt::skip]
const RUSSIAN: &str = "
    александр александра алексей алена алина алиса алла альбина альберт амина анастасия анатолий ангелина андрей анжела анжелика
    анна антон антонина арина аркадий арсений артем артур ася афанасий белла богдан борис вадим валентин валентина валерий валерия
    варвара василий василина василиса вениамин вероника виктор виктория виолетта виталий владимир владислав владислава всеволод
    вячеслав галина геннадий георгий герман глеб григорий давид дамир дания даниил данила дарина дарья денис диана дина динара
    дмитрий ева евгений евгения егор екатерина елена елизавета ефим жанна захар зинаида зоя зульфия иван игорь изабелла илона ильдар
    илья инга инесса инна иннокентий ирина искандер камилла карина кира кирилл клавдия константин кристина ксения лада лариса
    леонид лидия лина людмила макар максим маргарита марина мария марьяна матвей мила милана милена мирон мирослав михаил
    мурат надежда наиль наталия наталья нелли никита николай нина оксана олег олеся ольга павел петр платон полина прохор радик
    раиса рамиль ренат рената ринат роза рузанна руслан рустам савелий сабина светлана семен серафима сергей снежана софия софья станислав
    степан таисия тамара тарас татьяна тимофей тимур тихон ульяна федор филипп фатима хадиджа эдуард элеонора элина эльвира эльдар
    эльмира эмилия эмиль эмма эрик юлиан юлия юрий яков яна ярослав ярослава
    саша сережа леша алеша маша катя лена наташа аня таня оля юля настя даша женя дима коля толя вася петя миша гриша паша
    ваня вова костя лиза ира света люда галя валя надя витя стас макс
";

/// Names that are common words too.
const RUSSIAN_WORDS: &str =
    "вера любовь роман лев марк слава майя лилия роза надежда света лена лада рая мила ника аврора злата стас макс";

#[rustfmt::skip]
const ENGLISH: &str = "
    john james robert michael david william richard joseph thomas charles christopher daniel matthew anthony donald steven andrew
    paul joshua kenneth kevin brian george timothy ronald jason edward jeffrey ryan jacob gary nicholas eric jonathan stephen larry
    justin scott brandon benjamin samuel gregory alexander patrick jack dennis jerry tyler aaron jose adam nathan henry zachary
    douglas peter kyle noah ethan jeremy christian walter keith austin roger terry sean gerald carl dylan harold jordan jesse bryan
    lawrence arthur gabriel bruce logan albert willie alan juan wayne ralph roy eugene randy vincent russell louis philip bobby
    johnny bradley mike tom jim bob steve dave chris dan matt tony andy ben sam greg alex nick joe simon oliver harry oscar leo
    mary patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy betty sandra margaret ashley kimberly emily
    donna michelle carol amanda melissa deborah stephanie dorothy rebecca sharon laura cynthia amy kathleen angela shirley brenda
    emma anna pamela nicole samantha katherine christine helen debra rachel carolyn janet maria catherine heather diane olivia julie
    joyce victoria ruth virginia lauren kelly christina joan evelyn judith andrea hannah megan cheryl jacqueline martha madison
    teresa gloria sara janice ann kathryn abigail sophia frances jean alice judy isabella julia amber denise danielle marilyn
    beverly charlotte natalie theresa diana brittany doris kayla alexis lori kate jane lucy sophie chloe claire zoe anne olga ivan
    priya ahmed mohammed ali fatima raj carlos miguel sofia elena
";

const ENGLISH_WORDS: &str = "mark grace hope will bill rose joy faith may june april dawn grant frank drew rich dean chase jean jack harry bob dan carol";

static NAMES: LazyLock<HashMap<String, GivenName>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for (list, certainty) in [
        (RUSSIAN, GivenName::Certain),
        (ENGLISH, GivenName::Certain),
        (RUSSIAN_WORDS, GivenName::AlsoWord),
        (ENGLISH_WORDS, GivenName::AlsoWord),
    ] {
        for name in list.split_whitespace() {
            for form in forms(name) {
                names.insert(form, certainty);
            }
        }
    }
    names
});

/// What `lower` (lower case, `е` for `ё`) proves, if it is a given name in some case.
pub(super) fn given_name(lower: &str) -> Option<GivenName> {
    NAMES.get(lower).copied()
}

/// The forms of a name in all Russian cases; an English name has one.
fn forms(name: &str) -> Vec<String> {
    if !name.starts_with(is_cyrillic) {
        return vec![name.to_owned()];
    }
    let mut letters = name.chars();
    let last = letters.next_back().unwrap_or_default();
    let stem = letters.as_str();
    let (stem, endings): (&str, &[&str]) = match (name, last) {
        ("павел", _) => ("пав", &["ел", "ла", "лу", "лом", "ле"]),
        ("лев", _) => ("", &["лев", "льва", "льву", "львом", "льве"]),
        ("любовь", _) => ("любов", &["ь", "и", "ью"]),
        ("петр" | "александр", _) => (name, &["", "а", "у", "ом", "е"]),
        (_, 'а') => (stem, &["а", "ы", "и", "е", "у", "ой", "ей"]),
        (_, 'я') => (stem, &["я", "и", "е", "ю", "ей"]),
        (_, 'й') => (stem, &["й", "я", "ю", "ем", "е", "и"]),
        (_, 'ь') => (stem, &["ь", "я", "ю", "ем", "е"]),
        _ => (name, &["", "а", "у", "ом", "е"]),
    };
    endings.iter().map(|ending| format!("{stem}{ending}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_every_case() {
        for name in ["мария", "марии", "марией", "иван", "ивану", "сергеем", "льву", "павла", "игорем", "саше", "kate"]
        {
            assert_eq!(
                given_name(name),
                Some(GivenName::Certain).filter(|_| name != "льву").or(Some(GivenName::AlsoWord)),
                "{name}"
            );
        }
        for word in ["верой", "роман", "надежды", "hope"] {
            assert_eq!(given_name(word), Some(GivenName::AlsoWord), "{word}");
        }
        for word in ["карта", "банк", "оператор", "card"] {
            assert_eq!(given_name(word), None, "{word}");
        }
    }
}
