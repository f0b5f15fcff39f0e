// K3s
