//! What a part of a configuration says, to show and to compare it.

use std::fmt;

use postroad::Cookie;

use super::secret::Secret;

/// What was said, by key; what was left out is not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts(Vec<(&'static str, Fact)>);

#[derive(Debug, Clone, PartialEq)]
enum Fact {
    Shown(String),
    Cookie(Cookie),
    Password(Secret),
}

impl Facts {
    pub(crate) fn with(mut self, key: &'static str, value: &Option<impl ToString>) -> Self {
        self.0.extend(value.as_ref().map(|value| (key, Fact::Shown(value.to_string()))));
        self
    }

    pub(crate) fn list<T: ToString>(self, key: &'static str, values: Option<&[T]>) -> Self {
        let shown = values.map(|values| values.iter().map(T::to_string).collect::<Vec<_>>().join(" "));
        self.with(key, &shown.map(|shown| if shown.is_empty() { "none".to_owned() } else { shown }))
    }

    pub(crate) fn cookie(mut self, cookie: &Option<Cookie>) -> Self {
        self.0.extend(cookie.clone().map(|cookie| ("cookie", Fact::Cookie(cookie))));
        self
    }

    pub(crate) fn password(mut self, password: &Option<Secret>) -> Self {
        self.0.extend(password.clone().map(|password| ("password", Fact::Password(password))));
        self
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What became of it, such as `weight 100 → 200`; nothing if all is as it was.
    pub(crate) fn changes(&self, new: &Self) -> Vec<String> {
        let mut keys: Vec<&'static str> = self.0.iter().chain(&new.0).map(|(key, _)| *key).collect();
        let mut seen = Vec::new();
        keys.retain(|key| {
            !seen.contains(key) && {
                seen.push(key);
                true
            }
        });
        keys.into_iter()
            .filter_map(|key| match (self.get(key), new.get(key)) {
                (old, new) if old == new => None,
                (Some(Fact::Cookie(_)), Some(Fact::Cookie(_)))
                | (Some(Fact::Password(_)), Some(Fact::Password(_))) => Some(format!("another {key}")),
                (Some(old), Some(new)) => Some(format!("{key} {old} → {new}")),
                (Some(old), None) => Some(format!("{key} {old} → default")),
                (None, Some(new)) => Some(format!("{key} default → {new}")),
                (None, None) => None,
            })
            .collect()
    }

    fn get(&self, key: &str) -> Option<&Fact> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, fact)| fact)
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (key, fact)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{key} {fact}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shown(text) => f.write_str(text),
            Self::Cookie(_) | Self::Password(_) => f.write_str("***"),
        }
    }
}
