//! The relatives of MNIST: what their files are called, what their classes are.

/// A set, or a group of sets that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// LeCun, Cortes, Burges.
    Mnist,
    /// Xiao, Rasul, Vollgraf: "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017.
    Fashion,
    /// Cohen, Afshar, Tapson, van Schaik: "EMNIST: an extension of MNIST to handwritten letters", 2017. Six sets.
    Emnist,
    /// Clanuwat et al.: "Deep Learning for Classical Japanese Literature", 2018.
    Kmnist,
    /// Yadav, Bottou: "Cold Case: The Lost MNIST Digits", 2019.
    Qmnist,
}

const GARMENTS: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];
const KANA: [&str; 10] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"];
/// Digits, capitals, and small letters that differ from their capitals in more than size.
const MERGED: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt";
const CHARACTERS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The labels of `emnist-letters` begin with 1.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

impl Family {
    /// The family that a prefix or the name of a folder speaks of.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let is = |words: &[&str]| words.iter().any(|word| name.contains(word));
        // `emnist`, `kmnist` and `qmnist` have `mnist` in them.
        Some(match () {
            () if is(&["fashion"]) => Self::Fashion,
            () if is(&["emnist"]) => Self::Emnist,
            () if is(&["kmnist", "kuzushiji", "k49"]) => Self::Kmnist,
            () if is(&["qmnist"]) => Self::Qmnist,
            () if is(&["mnist"]) => Self::Mnist,
            () => return None,
        })
    }

    /// As `--dataset` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::Fashion => "fashion-mnist",
            Self::Emnist => "emnist",
            Self::Kmnist => "kmnist",
            Self::Qmnist => "qmnist",
        }
    }

    /// Names of the classes with these labels, which are in order; the labels themselves where there are no such names.
    pub(super) fn class_names(self, prefix: &str, labels: &[u16]) -> Vec<String> {
        let named = |names: &[String], first: u16| {
            let name = |label: &u16| names.get(usize::from(label.checked_sub(first)?)).cloned();
            labels.iter().map(name).collect::<Option<Vec<String>>>()
        };
        let words = |words: [&str; 10]| named(&words.map(str::to_string), 0);
        let letters = |letters: &str, first| {
            let letters: Vec<String> = letters.chars().map(String::from).collect();
            named(&letters, first)
        };
        let names = match self {
            Self::Fashion => words(GARMENTS),
            // Kuzushiji-49 has 49 characters.
            Self::Kmnist if labels.len() <= 10 => words(KANA),
            Self::Emnist => {
                let (count, first) = (labels.len(), labels.first());
                match () {
                    () if prefix.ends_with("byclass") => letters(CHARACTERS, 0),
                    () if prefix.ends_with("bymerge") || prefix.ends_with("balanced") => {
                        letters(MERGED, 0)
                    }
                    () if prefix.ends_with("letters") => letters(LETTERS, 1),
                    () if count == 62 => letters(CHARACTERS, 0),
                    () if count == 47 => letters(MERGED, 0),
                    () if count == 26 && first == Some(&1) => letters(LETTERS, 1),
                    () => None,
                }
            }
            _ => None,
        };
        names.unwrap_or_else(|| labels.iter().map(u16::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_the_names_that_torchvision_gives_them() {
        let names = |family: Family, prefix, labels: std::ops::Range<u16>| {
            let labels: Vec<u16> = labels.collect();
            family.class_names(prefix, &labels).join("")
        };
        assert_eq!(names(Family::Emnist, "emnist-balanced", 0..47), MERGED);
        assert_eq!(names(Family::Emnist, "emnist-byclass", 0..62), CHARACTERS);
        assert_eq!(names(Family::Emnist, "emnist-letters", 1..27), LETTERS);
        assert_eq!(names(Family::Emnist, "", 1..27), LETTERS);
        assert_eq!(names(Family::Emnist, "emnist-digits", 0..10), "0123456789");
        assert_eq!(names(Family::Kmnist, "", 0..3), "okisu");
        assert_eq!(names(Family::Kmnist, "k49", 0..12), "01234567891011");
        assert_eq!(names(Family::Mnist, "", 1..4), "123");
        // No garment has label 10.
        assert_eq!(names(Family::Fashion, "", 8..11), "8910");
    }

    #[test]
    fn families_are_known_by_names() {
        for (name, family) in [
            ("EMNIST", Some(Family::Emnist)),
            ("emnist-mnist", Some(Family::Emnist)),
            ("FashionMNIST", Some(Family::Fashion)),
            ("qmnist", Some(Family::Qmnist)),
            ("Kuzushiji-MNIST", Some(Family::Kmnist)),
            ("MNIST", Some(Family::Mnist)),
            ("raw", None),
        ] {
            assert_eq!(Family::of(name), family, "{name}");
        }
    }
}
