package interfere

import "testing"

// TestQueueOutlivesAVerdictThatComesTooLate: the kernel drops packets that wait
// when a rule goes, and answers a later verdict that there is no such packet.
func TestQueueOutlivesAVerdictThatComesTooLate(t *testing.T) {
	q, err := openQueue(64001)
	if err != nil {
		t.Fatalf("root and a kernel with nfnetlink_queue are needed: %v", err)
	}
	q.pass(held{id: 7}, 0)
	if _, err := q.conn.Receive(); err == nil || !goesOn(err) {
		t.Errorf("a late verdict ends the queue: %v", err)
	}
	if err := q.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := q.conn.Receive(); err == nil || goesOn(err) {
		t.Errorf("a closed queue goes on: %v", err)
	}
}
