"""HeartAgent, the data engine: ECG files in, a data set of questions and answers out."""
