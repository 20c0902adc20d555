package awsextension

// Dial is asked before each connection.
func Dial(address string) error { return onlyLoopback("tcp", address, nil) }
