package lab

// InNetwork runs do with the network of a host: sockets that it opens are the
// host's, also later.
func (l *Lab) InNetwork(host string, do func() error) error {
	pid, err := l.pid(host)
	if err != nil {
		return err
	}
	return inNetwork(pid, do)
}
