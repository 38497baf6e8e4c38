//! Atom mappings in a configuration file.

use std::collections::HashMap;

use super::facts::Facts;
use super::section::Section;

/// The mapping of atoms: it must be possible to go back.
pub(crate) fn read(section: &mut Section<'_>) -> Vec<(String, String)> {
    let Some(mut pairs) = section.text_by_text("atoms") else { return Vec::new() };
    let mut there: HashMap<String, String> = HashMap::new();
    pairs.sort_by_key(|(from, _)| from.span().start);
    for (from, to) in &pairs {
        if let Some(other) = there.insert(to.get_ref().clone(), from.get_ref().clone()) {
            let message =
                format!("{:?} already stands for {other:?}: there would be no way back", to.get_ref());
            section.reader.error(to.span(), message);
        }
    }
    pairs.into_iter().map(|(from, to)| (from.into_inner(), to.into_inner())).collect()
}

pub(crate) fn facts(atoms: &[(String, String)]) -> Facts {
    let shown: Vec<String> = atoms.iter().map(|(local, wire)| format!("{local}={wire}")).collect();
    Facts::default().list("atoms", Some(&shown[..]).filter(|shown| !shown.is_empty()))
}
