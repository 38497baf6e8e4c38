//! Which applications have to run before another one.

use super::error::ApplicationError;
use crate::Atom;

/// What `name` needs, directly or not, each behind what it needs itself; `name`
/// comes last. `needs` says what an application depends on, if it is loaded.
pub(super) fn start_order(
    name: Atom,
    needs: impl Fn(Atom) -> Option<Vec<Atom>>,
) -> Result<Vec<Atom>, ApplicationError> {
    let mut order = Vec::new();
    let depends = needs(name).ok_or(ApplicationError::Unknown { name })?;
    // The way to where we are: each application with those it needs that were not visited.
    let mut way = vec![(name, depends.into_iter())];
    while let Some((application, rest)) = way.last_mut() {
        let application = *application;
        let Some(dependency) = rest.next() else {
            order.push(application);
            way.pop();
            continue;
        };
        if order.contains(&dependency) {
            continue;
        }
        if let Some(start) = way.iter().position(|(visited, _)| *visited == dependency) {
            let mut path: Vec<_> = way[start..].iter().map(|(visited, _)| *visited).collect();
            path.push(dependency);
            return Err(ApplicationError::DependencyCycle { path });
        }
        let unknown = ApplicationError::DependencyUnknown { name: application, dependency };
        way.push((dependency, needs(dependency).ok_or(unknown)?.into_iter()));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn atom(name: impl ToString) -> Atom {
        Atom::new(&name.to_string()).unwrap()
    }

    fn order(name: &str, loaded: &[(&str, &[&str])]) -> Result<Vec<Atom>, ApplicationError> {
        let loaded: HashMap<_, Vec<_>> =
            loaded.iter().map(|(name, needs)| (atom(name), needs.iter().map(atom).collect())).collect();
        start_order(atom(name), |name| loaded.get(&name).cloned())
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let loaded: &[(&str, &[&str])] =
            &[("web", &["db", "log"]), ("db", &["log", "disk"]), ("log", &["disk"]), ("disk", &[])];
        let names: Vec<_> = order("web", loaded).unwrap().iter().map(|name| name.to_string()).collect();
        assert_eq!(names, ["disk", "log", "db", "web"]);
    }

    #[test]
    fn what_is_missing_or_goes_round_is_named() {
        let missing = order("web", &[("web", &["db"]), ("db", &["disk"])]).unwrap_err();
        assert_eq!(missing.to_string(), "dependency fail: db needs disk, which is not loaded");
        let cycle = order("web", &[("web", &["db"]), ("db", &["disk"]), ("disk", &["db"])]).unwrap_err();
        assert_eq!(cycle.to_string(), "dependency fail: each of these needs the next one: db -> disk -> db");
        let itself = order("web", &[("web", &["web"])]).unwrap_err();
        assert!(itself.to_string().ends_with("web -> web"), "{itself}");
        assert!(matches!(order("web", &[]), Err(ApplicationError::Unknown { .. })));
    }

    proptest! {
        /// Whatever depends on whatever: everybody behind what it needs, or a true cycle.
        #[test]
        fn the_order_holds_or_there_is_a_cycle(needs in vec(vec(0usize..6, 0..3), 6)) {
            let ask = |name: Atom| {
                let number: usize = name.as_str().parse().unwrap();
                Some(needs[number].iter().map(atom).collect())
            };
            match start_order(atom(0), ask) {
                Ok(order) => for (place, name) in order.iter().enumerate() {
                    for needed in ask(*name).unwrap() {
                        prop_assert!(order[..place].contains(&needed));
                    }
                },
                Err(ApplicationError::DependencyCycle { path }) => {
                    prop_assert_eq!(path.first(), path.last());
                    for pair in path.windows(2) {
                        prop_assert!(ask(pair[0]).unwrap().contains(&pair[1]));
                    }
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
