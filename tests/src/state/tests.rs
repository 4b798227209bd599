use super::*;

#[test]
fn names_that_could_not_name_a_namespace_are_refused() {
    for bad in ["", "Lab", "1st", "-a", "a/b", "..", "a b", &"x".repeat(41)] {
        assert!(check_name(bad).is_err(), "{bad:?} must be refused");
    }
    for good in ["lab", "ferrolb-2", &"x".repeat(40)] {
        assert!(check_name(good).is_ok(), "{good:?} must be accepted");
    }
}
