"""What a gateway's noise comes to: figures of the paper on the hybrid gateway, reproduced or contradicted."""
