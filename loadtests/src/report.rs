//! Figures as a table: minimum, median, maximum of runs, and ratios run by run.

/// Prints the minimum, the median and the maximum of figures.
pub(crate) fn row(name: &str, figures: &[f64], digits: usize) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    println!(
        "{name:<28} {:>12.digits$} {:>12.digits$} {:>12.digits$}",
        at(0),
        at(sorted.len() / 2),
        at(sorted.len().saturating_sub(1))
    );
}

/// Prints the head of a table.
pub(crate) fn head(title: &str) {
    println!("{title:<28} {:>12} {:>12} {:>12}", "min", "median", "max");
}
