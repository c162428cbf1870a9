//! Accuracies and confusions for people.

use stagger_data::shown_text;

use super::Confusion;
use crate::table::Table;

/// Up to so many classes all are listed, in the order of their labels,
const ALL_CLASSES: usize = 40;
/// and of more those that are recognised worst.
const WORST_CLASSES: usize = 20;
/// The most frequent confusions, at most.
const MISTAKES: usize = 20;
/// A matrix of more classes is too wide to read.
const MATRIX_CLASSES: usize = 30;

impl Confusion {
    /// The accuracy of each class with what it is most often taken for, and the most frequent confusions, as tables. Of more than
    /// 40 classes, the 20 that are recognised worst.
    #[must_use]
    pub fn per_class_text(&self) -> String {
        let mut labels: Vec<usize> = (0..self.class_names.len()).collect();
        let mut text = String::new();
        if labels.len() > ALL_CLASSES {
            labels.retain(|&label| self.samples(label) > 0);
            let with_samples = labels.len();
            let accuracy = |label: usize| self.accuracy(label).unwrap_or_default();
            // Stable: equal ones stay in the order of their labels.
            labels.sort_by(|&one, &other| accuracy(one).total_cmp(&accuracy(other)));
            labels.truncate(WORST_CLASSES);
            text = format!(
                "the {} worst of {with_samples} classes with samples:\n",
                labels.len()
            );
        }
        let mistakes = self.mistakes();
        let row = |label: usize| {
            let accuracy = self.accuracy(label);
            let worst = mistakes.iter().find(|mistake| mistake.label == label);
            vec![
                shown_text(&self.class_names[label]),
                self.samples(label).to_string(),
                accuracy.map_or("–".to_owned(), |accuracy| format!("{accuracy:.1} %")),
                worst.map_or("–".to_owned(), |mistake| {
                    let name = shown_text(&self.class_names[mistake.taken_for]);
                    format!("{name} ({})", mistake.samples)
                }),
            ]
        };
        let table = Table {
            headers: ["class", "samples", "top-1", "most often taken for"]
                .map(str::to_owned)
                .to_vec(),
            rows: labels.into_iter().map(row).collect(),
        };
        text.push_str(&table.to_string());
        text.push_str(&self.mistakes_text(MISTAKES));
        text
    }

    /// The most frequent confusions, so many at most.
    fn mistakes_text(&self, most: usize) -> String {
        let mistakes = self.mistakes();
        let head = match mistakes.len() {
            0 => return "no confusions\n".to_owned(),
            all if all <= most => "confusions:\n".to_owned(),
            all => format!("the {most} most frequent of {all} confusions:\n"),
        };
        let row = |mistake: &super::Mistake| {
            let name = |label: usize| shown_text(&self.class_names[label]);
            let share = 100.0 * mistake.samples as f64 / self.samples(mistake.label) as f64;
            vec![
                name(mistake.label),
                name(mistake.taken_for),
                mistake.samples.to_string(),
                format!("{share:.1} %"),
            ]
        };
        let table = Table {
            headers: ["class", "taken for", "samples", "of the class"]
                .map(str::to_owned)
                .to_vec(),
            rows: mistakes.iter().take(most).map(row).collect(),
        };
        format!("{head}{table}")
    }

    /// The matrix as text, lines by class and columns by what samples were taken for; of more than 30 classes the list of all
    /// confusions.
    #[must_use]
    pub fn matrix_text(&self) -> String {
        let classes = 0..self.class_names.len();
        if classes.len() > MATRIX_CLASSES {
            return self.mistakes_text(usize::MAX);
        }
        let names = self.class_names.iter().map(|name| shown_text(name));
        let row = |label: usize| {
            let counts = classes.clone().map(|other| self.count(label, other));
            std::iter::once(shown_text(&self.class_names[label]))
                .chain(counts.map(|count| count.to_string()))
                .collect()
        };
        let table = Table {
            headers: std::iter::once("class".to_owned()).chain(names).collect(),
            rows: classes.clone().map(row).collect(),
        };
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::confusion;

    #[test]
    fn few_classes_are_all_listed() {
        let found = confusion(
            &["cat", "dog\n", "猫"],
            &[(0, 0, 8), (0, 2, 2), (1, 1, 5), (1, 0, 1)],
        );
        insta::assert_snapshot!(found.per_class_text(), @r"
        class  samples   top-1  most often taken for
        cat         10  80.0 %                猫 (2)
        dog\n        6  83.3 %               cat (1)
        猫           0       –                     –
        confusions:
        class  taken for  samples  of the class
        cat           猫        2        20.0 %
        dog\n        cat        1        16.7 %
        ");
        insta::assert_snapshot!(found.matrix_text(), @r"
        class  cat  dog\n  猫
        cat      8      0   2
        dog\n    1      5   0
        猫       0      0   0
        ");
        assert!(
            confusion(&["a"], &[(0, 0, 1)])
                .per_class_text()
                .ends_with("no confusions\n")
        );
    }

    /// Of a thousand classes what matters is on a page.
    #[test]
    fn of_many_classes_the_worst_are_listed() {
        let names: Vec<String> = (0..1000).map(|label| format!("n{label}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Class c has c + 1 samples right and ten of the next one.
        let samples: Vec<_> = (0..999)
            .flat_map(|label| [(label, label, label + 1), (label, label + 1, 10)])
            .collect();
        let found = confusion(&names, &samples);
        let text = found.per_class_text();
        assert_eq!(text.lines().count(), 1 + 1 + 20 + 1 + 1 + 20);
        assert!(
            text.starts_with("the 20 worst of 999 classes with samples:\n"),
            "{text}"
        );
        assert!(text.lines().nth(2).unwrap().starts_with("n0 "), "{text}");
        assert!(text.contains("the 20 most frequent of 999 confusions:"));
        assert_eq!(found.matrix_text().lines().count(), 2 + 999);
        assert_eq!(found.to_csv().lines().count(), 1001);
        assert!(found.to_svg().unwrap().len() < 1 << 20);
    }
}
