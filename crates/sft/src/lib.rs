//! From records to training data: converters, IM, LF, scores.
