//! The blocks of `rules.txt`: how each rule is taken out of the code.

pub(crate) struct Mutation {
    pub(crate) rule: String,
    pub(crate) file: String,
    pub(crate) test: String,
    out: Vec<String>,
    put: Vec<String>,
}

/// All of them.
pub(crate) fn read(text: &str) -> Vec<Mutation> {
    let mut mutations: Vec<Mutation> = Vec::new();
    for line in text.lines() {
        if let Some(rule) = line.strip_prefix("== ") {
            let empty = String::new();
            let (file, test) = (empty.clone(), empty);
            mutations.push(Mutation {
                rule: rule.into(),
                file,
                test,
                out: vec![],
                put: vec![],
            });
        }
        let Some(mutation) = mutations.last_mut() else {
            continue;
        };
        if let Some(file) = line.strip_prefix("file ") {
            mutation.file = file.into();
        } else if let Some(test) = line.strip_prefix("test ") {
            mutation.test = test.into();
        } else if let Some(out) = line.strip_prefix("- ") {
            mutation.out.push(out.trim().into());
        } else if let Some(put) = line.strip_prefix("+ ") {
            mutation.put.push(put.into());
        }
    }
    mutations
}

impl Mutation {
    /// `text` without the rule.
    pub(crate) fn apply(&self, text: &str) -> Result<String, String> {
        let lines: Vec<&str> = text.lines().collect();
        let is_here = |window: &[&str]| window.iter().zip(&self.out).all(|(a, b)| a.trim() == b);
        let places: Vec<usize> = (0..)
            .zip(lines.windows(self.out.len()))
            .filter(|(_, w)| is_here(w))
            .map(|(i, _)| i)
            .collect();
        let [place] = places[..] else {
            let (rule, file, count) = (&self.rule, &self.file, places.len());
            return Err(format!(
                "{rule}: the lines to take out occur {count} times in {file}"
            ));
        };
        let put: Vec<&str> = self.put.iter().map(String::as_str).collect();
        let after = &lines[place + self.out.len()..];
        Ok([&lines[..place], &put, after].concat().join("\n") + "\n")
    }
}
