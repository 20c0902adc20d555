package anomaly

// As makes the Watch take what comes next as of another process.
func As(w *Watch, process string) { w.opts.Process = process }
