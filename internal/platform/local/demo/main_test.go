package demo

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// parentEnv makes the test binary a process with a child, for TestChildrenDieWithTheDemo.
const parentEnv = "WEFT_TEST_DEMO_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) != "" {
		runParent()
		return
	}
	goleak.VerifyTestMain(m)
}
