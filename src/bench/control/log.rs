//! `isotherm bench log`.
