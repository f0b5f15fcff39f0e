print("kairos-agent")
